//! What Linux tells of the machine, and of the processor time that a process has had.

use std::{fs, thread, time::Duration};

use anyhow::Context;

/// Unit of the processor times in `/proc`: `USER_HZ`, which is 100 on every Linux.
const TICK_MS: u64 = 10;

/// Cores, model and kernel, in a line.
pub(crate) fn describe() -> anyhow::Result<String> {
    let cores = thread::available_parallelism()?;
    let info = fs::read_to_string("/proc/cpuinfo")?;
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, model)| model.trim());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{cores} × {model}, Linux {}", kernel.trim()))
}

/// Processor time of a process, in user and kernel mode, all threads.
pub(crate) fn cpu_of(process: u32) -> anyhow::Result<Duration> {
    times_of(process, 11, 2)
}

/// What of it was spent in kernel mode.
pub(crate) fn kernel_of(process: u32) -> anyhow::Result<Duration> {
    times_of(process, 12, 1)
}

/// The name, in brackets, may hold anything; `utime` and `stime` are the 12th and 13th behind it.
fn times_of(process: u32, skip: usize, take: usize) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))
        .with_context(|| format!("process {process} has ended"))?;
    let (_, fields) = stat.rsplit_once(')').context("an odd stat file")?;
    sum(fields.split_whitespace().skip(skip).take(take))
}

/// Processor time of all processes that this one started and that have ended.
pub(crate) fn cpu_of_children() -> anyhow::Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("an odd stat file")?;
    // `cutime` and `cstime`.
    sum(fields.split_whitespace().skip(13).take(2))
}

/// Memory of a process in bytes, by its name in `/proc`.
pub(crate) fn memory_of(process: u32, name: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(1024 * kib.context("an odd status file")?.parse::<u64>()?)
}

/// Processor time that all processes of the machine have had, the kernel's interrupts included.
pub(crate) fn busy() -> anyhow::Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("an empty stat file")?;
    // cpu user nice system idle iowait irq softirq
    let fields = line.split_whitespace().skip(1).take(7).enumerate();
    let busy = fields.filter(|(index, _)| !matches!(index, 3 | 4));
    sum(busy.map(|(_, field)| field))
}

fn sum<'t>(ticks: impl Iterator<Item = &'t str>) -> anyhow::Result<Duration> {
    let mut sum = 0;
    for field in ticks {
        sum += field.parse::<u64>()?;
    }
    Ok(Duration::from_millis(TICK_MS * sum))
}
