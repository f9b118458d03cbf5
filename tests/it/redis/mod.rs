//! Several replicas and one Redis: request IDs and quotas hold for all of them together, and whatever
//! becomes of Redis, nobody has a message twice and callers are told the truth.

mod away;
mod killed;
mod quota;
mod records;
mod stages;

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
};

/// A replica that shares this Redis.
fn replica(easemob: &Easemob, redis: &Redis) -> Setup {
    Setup::at(easemob.url()).store(|store| {
        store.kind = Kind::Redis;
        store.url = Some(RedisUrl(redis.url()));
    })
}

/// A message to `bob` under this ID, told from all others by its text.
fn says(id: &str, words: &str) -> SendMessageRequest {
    SendMessageRequest {
        request_id: id.into(),
        ..request(message(users(&["bob"]), text(words)))
    }
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
