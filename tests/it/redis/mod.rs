//! Several replicas and one Redis: request IDs and quotas hold for all of them together, and whatever
//! becomes of Redis, nobody has a message twice and callers are told the truth.

mod away;
mod killed;
mod quota;
mod records;
mod stages;

use easemob_gateway::store::{Kind, RedisUrl};
use tonic::Code;

use crate::support::{
    easemob::Easemob,
    gateway::Setup,
    redis::Redis,
    request::{in_doubt, refusal, says, send, under_way},
};

/// A replica that shares this Redis.
fn replica(easemob: &Easemob, redis: &Redis) -> Setup {
    Setup::at(easemob.url()).store(|store| {
        store.kind = Kind::Redis;
        store.url = Some(RedisUrl(redis.url()));
    })
}

fn store_away() -> (Code, String, String) {
    let (reason, state) = ("STORE_UNAVAILABLE", "NOT_SENT");
    (Code::Unavailable, reason.into(), state.into())
}
