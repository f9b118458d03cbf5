//! What a handler sees of its request: the end only where the caller put it.

use tonic::Code;

use crate::support::{
    http2::{Connection, code, data, headers, rst_stream},
    server::{ECHO, Server, config},
    soon,
};

const SOME: &[u8] = &[0, 0, 0, 0, 100, 1, 2, 3];

/// Begins an upload, waits until it runs, does something to it, and tells how the handler saw it
/// end: after so many bytes, or with an error.
async fn end_of_upload(ended: impl AsyncFnOnce(&mut Connection)) -> Result<usize, Code> {
    let server = Server::start(config()).await;
    let mut requests = server.notes.requests.subscribe();
    let mut caller = Connection::open(server.grpc).await;
    caller.send(&headers(1, ECHO, &[])).await;
    caller.send(&data(1, SOME, false)).await;
    server.notes.running(1).await;
    ended(&mut caller).await;
    let requests = soon(
        "the end of the request",
        requests.wait_for(|ends| !ends.is_empty()),
    );
    let ended = requests.await.unwrap()[0].clone();
    ended.map_err(|status| status.code())
}

#[tokio::test]
async fn a_finished_upload_ends() {
    let ended = end_of_upload(async |caller| caller.send(&data(1, SOME, true)).await).await;
    assert_eq!(ended, Ok(2 * SOME.len()));
}

#[tokio::test]
async fn a_finished_upload_without_a_last_byte_ends() {
    let ended = end_of_upload(async |caller| caller.send(&data(1, &[], true)).await).await;
    assert_eq!(ended, Ok(SOME.len()));
}

#[tokio::test]
async fn a_cancelled_upload_is_an_error() {
    let cancel = rst_stream(1, code::CANCEL);
    let ended = end_of_upload(async |caller| caller.send(&cancel).await).await;
    assert_eq!(ended, Err(Code::Aborted));
}

#[tokio::test]
async fn an_upload_reset_without_an_error_is_an_error() {
    let reset = rst_stream(1, code::NO_ERROR);
    let ended = end_of_upload(async |caller| caller.send(&reset).await).await;
    assert_eq!(ended, Err(Code::Aborted));
}

#[tokio::test]
async fn an_upload_whose_connection_closes_is_an_error() {
    let ended = end_of_upload(async |caller| {
        let server = caller.peer();
        *caller = Connection::open(server).await;
    })
    .await;
    assert_eq!(ended, Err(Code::Aborted));
}
