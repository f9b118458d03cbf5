//! What the service config says for SendMessage, since tonic reads none: UNAVAILABLE is tried again, and
//! what tonic itself did not send. Only for requests with an ID: where the connection broke in mid-call, the first may have arrived.

use std::{error::Error as _, future::Future, time::Duration};

use tokio::time::{sleep, timeout};
use tonic::{Code, Response, Status};

const ATTEMPTS: u32 = 5;
const DEADLINE: Duration = Duration::from_secs(15);

pub async fn retrying<T, F>(mut call: impl FnMut() -> F) -> Result<Response<T>, Status>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let attempts = async {
        let mut tried = 0;
        loop {
            tried += 1;
            match call().await {
                Err(status) if may_be_repeated(&status) => {
                    // No connection counts for no attempt, as with waitForReady.
                    let connected = status.metadata().contains_key("x-trace-id");
                    if connected && tried >= ATTEMPTS {
                        return Err(status);
                    }
                    sleep(wait(&status, tried)).await;
                }
                answer => return answer,
            }
        }
    };
    let late = |_| Err(Status::deadline_exceeded("no answer in time"));
    timeout(DEADLINE, attempts).await.unwrap_or_else(late)
}

/// tonic's word for a request whose connection closed before it was sent is CANCELLED; the gateway never
/// says so, and then there is a cause in this process.
fn may_be_repeated(status: &Status) -> bool {
    let unsent = status.code() == Code::Cancelled && status.source().is_some();
    unsent || status.code() == Code::Unavailable
}

/// What the gateway asks for, or up to 0.1 s, 0.2 s, 0.4 s …, at random.
fn wait(status: &Status, tried: u32) -> Duration {
    let pushback = status.metadata().get("grpc-retry-pushback-ms");
    let pushback = pushback.and_then(|ms| ms.to_str().ok()?.parse().ok());
    let random = f64::from(uuid::Uuid::new_v4().as_bytes()[0]) / 255.0;
    let backoff = Duration::from_millis(100 << tried.min(5)) / 2;
    pushback.map_or(backoff.mul_f64(random), Duration::from_millis)
}
