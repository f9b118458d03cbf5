//! Callers that send all on one `SendMessages` stream a connection, with so many requests under way at once.

use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bytes::{Buf, Bytes, BytesMut};
use easemob_gateway::proto::{
    SendMessageRequest, SendMessagesRequest, SendMessagesResponse,
    send_messages_response::Result as Outcome,
};
use h2::{RecvStream, SendStream, client::SendRequest};
use prost::Message as _;

use crate::{
    call::{Calls, Options},
    load::{Load, Shape, State},
    message,
};

const METHOD: &str = "/easemob.messaging.v1.MessagingService/SendMessages";
/// Bytes before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Opens the streams and begins to send.
pub(crate) async fn start(
    address: SocketAddr,
    shape: Shape,
    options: Options,
) -> anyhow::Result<Load> {
    let calls = Calls::with(address, METHOD, options, |request: &SendMessageRequest| {
        message::frame(&SendMessagesRequest {
            request: Some(request.clone()),
            ..SendMessagesRequest::default()
        })
    })?;
    let mut load = Load::idle();
    for _ in 0..shape.connections {
        let sender = load.connect(address).await?;
        let (calls, state) = (calls.clone(), Arc::clone(&load.state));
        load.streams
            .spawn(async move { keep_sending(&state, sender, &calls, shape.streams).await });
    }
    Ok(load)
}

/// Sends the next request with each answer.
async fn keep_sending(
    state: &State,
    sender: SendRequest<Bytes>,
    calls: &Calls,
    at_once: usize,
) -> anyhow::Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    let mut sender = sender.ready().await?;
    let (response, mut requests) = sender.send_request(calls.head(0), false)?;
    // Answers come in any order, and all are alike: one is taken for the answer to the oldest.
    let mut begun = std::collections::VecDeque::new();
    for _ in 0..at_once {
        begun.push_back(Instant::now());
        send(&mut requests, calls.body(state.number())).await?;
    }
    let (head, mut answers) = response.await?.into_parts();
    if head.headers.contains_key("grpc-status") {
        message::check_status(&head.headers)?;
    }
    let mut received = BytesMut::new();
    while let Some(begin) = begun.pop_front() {
        let answer = next(&mut answers, &mut received).await?;
        match answer.result {
            Some(Outcome::Response(response)) => {
                message::check_response(&response, calls.recipients())?;
            }
            other => bail!("not accepted: {other:?}"),
        }
        state.note(begin, &mut latencies);
        if !state.is_over() {
            begun.push_back(Instant::now());
            send(&mut requests, calls.body(state.number())).await?;
        }
    }
    requests.send_data(Bytes::new(), true)?;
    while answers.data().await.is_some() {}
    let trailers = answers
        .trailers()
        .await?
        .context("a stream without a status")?;
    message::check_status(&trailers)?;
    Ok(latencies)
}

/// Sends a frame as the windows let it go.
async fn send(stream: &mut SendStream<Bytes>, mut frame: Bytes) -> anyhow::Result<()> {
    while !frame.is_empty() {
        stream.reserve_capacity(frame.len());
        let capacity = poll_fn(|cx| stream.poll_capacity(cx)).await;
        let capacity = capacity.context("the stream has ended")??;
        stream.send_data(frame.split_to(capacity.min(frame.len())), false)?;
    }
    Ok(())
}

/// The next answer of the stream.
async fn next(
    answers: &mut RecvStream,
    received: &mut BytesMut,
) -> anyhow::Result<SendMessagesResponse> {
    loop {
        if let Some(mut prefix) = received.get(1..PREFIX) {
            let length = PREFIX + usize::try_from(prefix.get_u32())?;
            if received.len() >= length {
                let message = received.split_to(length).split_off(PREFIX);
                return Ok(SendMessagesResponse::decode(message)?);
            }
        }
        let data = answers.data().await.context("the stream has ended")??;
        answers.flow_control().release_capacity(data.len())?;
        received.extend_from_slice(&data);
    }
}
