//! Signals in, one cancellation token out.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// A token that the first SIGTERM or SIGINT cancels; a second one ends the process at once, for an
/// operator who will not wait for the drain.
///
/// The signals belong to the process from this call on, so it is made once, and early: one that
/// comes during start-up is not lost.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    tokio::spawn(async move {
        let (name, _) = next(&mut terminate, &mut interrupt).await;
        info!("{name}: finishing what runs; once more ends at once");
        token.cancel();
        let (name, number) = next(&mut terminate, &mut interrupt).await;
        warn!("{name} again: ending at once");
        // As a shell tells that a signal ended a process.
        std::process::exit(128 + number);
    });
    Ok(shutdown)
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> (&'static str, i32) {
    tokio::select! {
        _ = terminate.recv() => ("SIGTERM", SignalKind::terminate().as_raw_value()),
        _ = interrupt.recv() => ("SIGINT", SignalKind::interrupt().as_raw_value()),
    }
}
