//! Several replicas and one Redis: request IDs and quotas hold for all of them together, and whatever
//! becomes of Redis, nobody has a message twice and callers are told the truth.

mod away;
mod deployed;
mod killed;
mod processes;
mod quota;
mod records;
mod rolling;
mod slow;

use std::time::Duration;

use easemob_gateway::{
    proto::{
        SendMessageRequest, SendMessageResponse, messaging_service_client::MessagingServiceClient,
    },
    store::{Kind, RedisUrl},
};
use tonic::{Code, Status, transport::Channel};

use crate::support::{
    easemob::Easemob,
    gateway::Setup,
    redis::Redis,
    request::{message, request, text, users, verdict},
    soon,
};

/// A replica that shares this Redis.
fn replica(easemob: &Easemob, redis: &Redis) -> Setup {
    Setup::at(easemob.url()).store(|store| {
        store.kind = Kind::Redis;
        store.url = Some(RedisUrl(redis.url()));
        // On a busy machine a good answer takes long; tests of bad ones set it.
        store.answer_timeout = Duration::from_secs(2);
    })
}

/// A message to `bob` under this ID, told from all others by its text.
fn says(id: &str, words: &str) -> SendMessageRequest {
    SendMessageRequest {
        request_id: id.into(),
        ..request(message(users(&["bob"]), text(words)))
    }
}

/// The same where each answer has the time that it has by default, which on a busy machine a good one may exceed: tried
/// until it is accepted. Whether it was a repeat.
async fn send_at_last(client: &MessagingServiceClient<Channel>, id: &str) -> bool {
    soon("Redis is used", async {
        loop {
            match send(client, says(id, id)).await {
                Ok(sent) => return sent.replayed,
                Err(status) if status.code() == Code::Unavailable => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(status) => panic!("{status:?}"),
            }
        }
    })
    .await
}

async fn send(
    client: &MessagingServiceClient<Channel>,
    request: SendMessageRequest,
) -> Result<SendMessageResponse, Status> {
    let sent = client.clone().send_message(request).await?;
    Ok(sent.into_inner())
}

/// Code, reason and state of an error.
fn refusal<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String, String) {
    let status = result.unwrap_err();
    let (reason, state) = verdict(&status);
    (status.code(), reason, state)
}

fn in_doubt() -> (Code, String, String) {
    let (reason, state) = ("OUTCOME_UNKNOWN", "MAYBE_SENT");
    (Code::Unknown, reason.into(), state.into())
}

fn store_away() -> (Code, String, String) {
    let (reason, state) = ("STORE_UNAVAILABLE", "NOT_SENT");
    (Code::Unavailable, reason.into(), state.into())
}
