//! Whatever Easemob says, and however long: the caller's library can take what it is told.

use std::time::Duration;

use tokio::task::JoinSet;
use tonic_types::StatusExt;

use super::started;
use crate::support::{
    easemob::{Easemob, Script},
    gateway::Setup,
    request::{error_info, text_to},
};

/// As much as the gateway reads of an answer is a megabyte.
const READ: usize = 300 << 10;
const TOO_LONG: usize = 1 << 20;

/// Answers with this much text in whatever reaches the caller.
fn long(status: u16, letter: &str, bytes: usize) -> Script {
    let words = letter.repeat(bytes / letter.len());
    let body =
        format!(r#"{{"error":"{words}","error_description":"{words}","exception":"{words}"}}"#);
    Script::read().answer(status, &body)
}

/// Asks once, of an Easemob that answers sends or token fetches like this; tells whether its words are passed on.
async fn ask(of_token: bool, answer: Script) -> bool {
    let easemob = Easemob::start();
    match of_token {
        true => easemob.always_on_token(answer),
        false => easemob.always_on_send(answer),
    }
    // Less than any wait that helps.
    let setup =
        Setup::at(easemob.url()).server(|server| server.default_deadline = Duration::from_secs(1));
    let mut started = started(easemob, setup).await;
    let error = started.client.send_message(text_to(&["bob"])).await;
    let error = error.unwrap_err();
    // Which holds it to the limit.
    let info = error_info(&error);
    assert!(error.get_error_details().localized_message().is_some());
    info.metadata.contains_key("easemob_error")
}

/// In letters of one byte, of three, and such as are escaped on their way.
#[tokio::test]
async fn an_error_text_of_a_megabyte_fits_into_four_kilobytes() {
    for (letter, bytes) in [
        ("x", READ),
        ("环", READ),
        ("%\\u0007", READ),
        ("x", TOO_LONG),
    ] {
        let mut asked = JoinSet::new();
        for status in [400, 401, 403, 404, 408, 413, 418, 429, 500, 502, 503, 504] {
            asked.spawn(ask(false, long(status, letter, bytes)));
        }
        for status in [400, 401, 403, 404, 429, 500] {
            asked.spawn(ask(true, long(status, letter, bytes)));
        }
        let quoted = asked.join_all().await.into_iter().filter(|quoted| *quoted);
        assert_eq!(quoted.count() > 0, bytes == READ, "{letter}");
    }
}
