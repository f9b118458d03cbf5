//! Several replicas and one Redis: request IDs and quotas hold for all of them together, and whatever
//! becomes of Redis, nobody has a message twice and callers are told the truth.

mod away;
mod deployed;
mod fair;
mod killed;
mod processes;
mod quota;
mod records;
mod rolling;
mod slow;
mod stages;

use std::time::Duration;

use easemob_gateway::store::{Kind, RedisUrl};
use tonic::Code;

use crate::support::{
    easemob::Easemob,
    gateway::Setup,
    ledger::Client,
    redis::Redis,
    request::{in_doubt, refusal, says, send, under_way},
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

/// The same where each answer has the time that it has by default, which on a busy machine a good one may exceed: tried
/// until it is accepted. Whether it was a repeat.
async fn send_at_last(client: &Client, id: &str) -> bool {
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

fn store_away() -> (Code, String, String) {
    let (reason, state) = ("STORE_UNAVAILABLE", "NOT_SENT");
    (Code::Unavailable, reason.into(), state.into())
}
