//! M4: more request IDs than there is room for, each with a user of its own, and apps that nobody has. What has
//! no room is refused, nothing is forgotten, and memory and metrics stay within their bounds.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use easemob_gateway::{
    proto::{SendMessageRequest, SendMessageResponse},
    sandbox::{self, Endpoint, Keep, Sandbox},
};
use tokio::task::JoinSet;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{MIB, SECRET, app};
use crate::support::{binary::Binary, ledger::Client, request::text_to, soak};

/// What a record of a send to one recipient takes, as the documentation says.
const RECORD: u64 = 116;
/// What a gateway takes beside its records.
const BESIDE_RECORDS: u64 = 24 * MIB;
/// Calls at once on each of the connections.
const CALLS: usize = 25;
/// One call in so many is also made for an app that nobody has.
const UNKNOWN_APPS: u64 = 100;

fn request(id: u64) -> SendMessageRequest {
    SendMessageRequest {
        request_id: format!("key-{id}"),
        ..text_to(&[&format!("user-{id}")])
    }
}

/// Sends under all these IDs, and gives what was told of each.
async fn send_all<T: Send + 'static>(
    clients: &[Client],
    ids: Range<u64>,
    told: fn(Result<SendMessageResponse, Status>) -> T,
) -> Vec<(u64, T)> {
    let next = Arc::new(AtomicU64::new(ids.start));
    let mut callers = JoinSet::new();
    for client in clients.iter().cycle().take(clients.len() * CALLS) {
        let (mut client, next) = (client.clone(), Arc::clone(&next));
        callers.spawn(async move {
            let mut all = Vec::new();
            loop {
                let id = next.fetch_add(1, Ordering::Relaxed);
                if id >= ids.end {
                    break all;
                }
                if id % UNKNOWN_APPS == 0 {
                    let app = format!("app-{id}");
                    let nowhere = SendMessageRequest { app, ..request(id) };
                    client.send_message(nowhere).await.unwrap_err();
                }
                let sent = client.send_message(request(id)).await;
                all.push((id, told(sent.map(tonic::Response::into_inner))));
            }
        });
    }
    callers.join_all().await.into_iter().flatten().collect()
}

/// Whether it was accepted; else it was refused for want of room.
fn had_room(result: Result<SendMessageResponse, Status>) -> bool {
    match result {
        Ok(sent) => {
            assert_eq!((sent.accepted.len(), sent.replayed), (1, false));
            true
        }
        Err(status) => {
            assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
            let details = status.get_error_details();
            let info = details.error_info().unwrap();
            assert_eq!(info.reason, "OVERLOADED");
            assert_eq!(info.metadata["send_state"], "NOT_SENT");
            assert!(details.retry_info().unwrap().retry_delay.is_some());
            false
        }
    }
}

/// Answered from memory.
fn was_remembered(result: Result<SendMessageResponse, Status>) {
    let sent = result.unwrap();
    assert_eq!((sent.accepted.len(), sent.replayed), (1, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_ids_beyond_the_room_for_them_are_refused_and_none_is_forgotten() {
    // In a soak the default, which 504,000 records fill.
    let (room, ids) = match soak() {
        true => (64 * MIB, 1_000_000),
        false => (MIB / 2, 6_000),
    };
    let config = sandbox::Config {
        keep: Keep::default(),
        ..sandbox::Config::for_tests()
    };
    let easemob = Sandbox::start(config).unwrap();
    let sent = || easemob.call_count(Endpoint::SendToUsers);
    let toml = format!(
        "{}[apps.shop.quota]\nusers = {{ calls_per_second = 0, messages_per_minute = 0 }}\n\
         [store]\nmemory_bytes = {room}\n",
        app(&easemob.base_url())
    );
    let gateway = Binary::serve(&toml, &SECRET).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(gateway.client().await);
    }

    // A tenth of it first, which also costs whatever calls cost that are the first of all.
    let fits = room / RECORD;
    let memory_before = gateway.memory();
    let mut told = send_all(&clients, 0..fits / 10, had_room).await;
    let page = gateway.page().await;
    told.extend(send_all(&clients, fits / 10..fits * 9 / 10, had_room).await);
    assert!(told.iter().all(|(_, accepted)| *accepted));
    assert_eq!(gateway.page().await.series(), page.series());

    // Full on the way; the first refusals bring the series of their reason.
    told.extend(send_all(&clients, fits * 9 / 10..fits * 11 / 10, had_room).await);
    let page = gateway.page().await;
    let late = send_all(&clients, fits * 11 / 10..ids, had_room).await;
    assert!(late.iter().all(|(_, accepted)| !*accepted));
    told.extend(late);
    let accepted: Vec<u64> = told
        .into_iter()
        .filter_map(|(id, accepted)| accepted.then_some(id))
        .collect();
    let count = accepted.len() as u64;
    assert!((fits * 99 / 100..=fits).contains(&count), "{count}");
    assert_eq!(sent(), count);

    // Every one of them is remembered, and one without an ID needs no room.
    for range in runs(accepted) {
        send_all(&clients, range, was_remembered).await;
    }
    assert_eq!(sent(), count);
    clients[0].send_message(text_to(&["bob"])).await.unwrap();

    let last = gateway.page().await;
    assert_eq!(last.series(), page.series());
    for name in ["key-", "user-", "app-"] {
        let named = |series: &&str| series.contains(name);
        assert_eq!(last.series().into_iter().find(named), None);
    }
    let records = last.count("easemob_gateway_store_records", &[]);
    assert_eq!(records, count as f64);
    let bytes = last.count("easemob_gateway_store_active_bytes", &[]);
    assert!(bytes <= room as f64);
    let grown = gateway.memory() - memory_before;
    println!(
        "{count} of {ids} accepted; records {bytes} of {room} bytes; memory grown by {} MiB",
        grown / MIB
    );
    // Beside records: connections, the code that runs for the first time, and what the allocator keeps.
    assert!(grown <= room + BESIDE_RECORDS, "{grown}");
}

/// The same numbers as ranges.
fn runs(mut numbers: Vec<u64>) -> Vec<Range<u64>> {
    numbers.sort_unstable();
    let mut runs: Vec<Range<u64>> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some(run) if run.end == number => run.end += 1,
            _ => runs.push(number..number + 1),
        }
    }
    runs
}
