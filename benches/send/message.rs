//! The message that every figure sends, and the answer that it must get.

use anyhow::{Context, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use easemob_gateway::proto::{
    Message, SendMessageRequest, SendMessageResponse, TextContent, Users,
    message::{Content, Target},
};
use http::HeaderMap;
use prost::Message as _;

/// Path of the method.
pub(crate) const METHOD: &str = "/easemob.messaging.v1.MessagingService/SendMessage";
/// Who receives it.
pub(crate) const RECIPIENT: &str = "bob";
/// The ID that the sink gives it.
pub(crate) const MESSAGE_ID: &str = "1029457500870543736";

/// The message as Easemob takes it.
pub(crate) const JSON: &str = r#"{"from":"alice","to":["bob"],"type":"txt","body":{"msg":"您的订单已发货，预计明天送达。Your order is on its way."}}"#;

/// A short text from one user to another, or to so many, whose IDs then have 12 characters.
pub(crate) fn request(recipients: usize) -> SendMessageRequest {
    let user_ids = match recipients {
        1 => vec![RECIPIENT.to_owned()],
        _ => (0..recipients)
            .map(|user| format!("user{user:08}"))
            .collect(),
    };
    SendMessageRequest {
        message: Some(Message {
            from_user_id: Some("alice".to_owned()),
            target: Some(Target::Users(Users { user_ids })),
            content: Some(Content::Text(TextContent {
                text: "您的订单已发货，预计明天送达。Your order is on its way.".to_owned(),
            })),
            ..Message::default()
        }),
        ..SendMessageRequest::default()
    }
}

/// A message as gRPC frames it.
pub(crate) fn frame(message: &impl prost::Message) -> anyhow::Result<Bytes> {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.encoded_len())?);
    message.encode(&mut frame)?;
    Ok(frame.freeze())
}

/// Checks the body of a unary call's answer.
pub(crate) fn check(mut body: Bytes, recipients: usize) -> anyhow::Result<()> {
    ensure!(body.len() >= 5, "an answer without a message");
    let message = body.split_off(5);
    let answer = SendMessageResponse::decode(message).context("an answer that is no message")?;
    check_response(&answer, recipients)
}

/// Checks an answer: accepted, for all to whom it was sent, under the ID that the sink gave.
pub(crate) fn check_response(
    answer: &SendMessageResponse,
    recipients: usize,
) -> anyhow::Result<()> {
    ensure!(
        answer.accepted.len() == recipients && answer.failures.is_empty(),
        "not accepted: {answer:?}"
    );
    for accepted in &answer.accepted {
        let is_known = recipients > 1 || accepted.recipient == RECIPIENT;
        ensure!(
            is_known && accepted.message_id == MESSAGE_ID,
            "another message's answer: {accepted:?}"
        );
    }
    Ok(())
}

/// Fails unless the status is OK. Where there is no message, it stands among the headers.
pub(crate) fn check_status(headers: &HeaderMap) -> anyhow::Result<()> {
    let text = |name| {
        let value = headers.get(name);
        value.map_or("", |value| value.to_str().unwrap_or_default())
    };
    if text("grpc-status") != "0" {
        bail!(
            "grpc-status {:?}: {}",
            text("grpc-status"),
            text("grpc-message")
        );
    }
    Ok(())
}
