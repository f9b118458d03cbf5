//! Files to upload: the same bytes each time, which nothing can compress or guess.

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use ring::digest;

/// A file. Dropped, it is removed.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    pub(crate) sha256: String,
}

impl Sample {
    /// Writes a file of so many MiB.
    pub(crate) fn of_mib(mib: u64) -> anyhow::Result<Self> {
        Self::of_kib(mib << 10)
    }

    /// Writes a file of so many KiB, a multiple of 64.
    pub(crate) fn of_kib(kib: u64) -> anyhow::Result<Self> {
        static FILES: AtomicU64 = AtomicU64::new(0);
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let path = folder.join(format!("upload-{kib}-{number}.bin"));
        let mut random = fastrand::Rng::with_seed(kib);
        let mut file = File::create(&path)?;
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut block = vec![0; 64 << 10];
        for _ in 0..kib / 64 {
            random.fill(&mut block);
            hash.update(&block);
            file.write_all(&block)?;
        }
        let sum = hash.finish();
        let sum = sum.as_ref().iter().map(|byte| format!("{byte:02x}"));
        Ok(Self {
            path,
            size: kib << 10,
            sha256: sum.collect(),
        })
    }

    /// The path as an argument.
    pub(crate) fn path(&self) -> String {
        self.path.display().to_string()
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        // What is left lies in target/.
        let _ = fs::remove_file(&self.path);
    }
}
