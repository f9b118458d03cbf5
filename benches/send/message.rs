//! The message that every figure sends, and the answer that it must get.

use anyhow::{Context, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use easemob_gateway::proto::{
    Message, SendMessageRequest, SendMessageResponse, TextContent, Users,
    message::{Content, Target},
};
use prost::Message as _;

/// Path of the method.
pub(crate) const METHOD: &str = "/easemob.messaging.v1.MessagingService/SendMessage";
/// Who receives it.
pub(crate) const RECIPIENT: &str = "bob";
/// The ID that the sink gives it.
pub(crate) const MESSAGE_ID: &str = "1029457500870543736";

/// A short text from one user to another.
pub(crate) fn request() -> SendMessageRequest {
    SendMessageRequest {
        message: Some(Message {
            from_user_id: Some("alice".to_owned()),
            target: Some(Target::Users(Users {
                user_ids: vec![RECIPIENT.to_owned()],
            })),
            content: Some(Content::Text(TextContent {
                text: "您的订单已发货，预计明天送达。Your order is on its way.".to_owned(),
            })),
            ..Message::default()
        }),
        ..SendMessageRequest::default()
    }
}

/// The request as gRPC frames it.
pub(crate) fn frame() -> anyhow::Result<Bytes> {
    let message = request().encode_to_vec();
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len())?);
    frame.put_slice(&message);
    Ok(frame.freeze())
}

/// Checks the body of an answer: accepted, for whom it was sent, under the ID that the sink gave.
pub(crate) fn check(mut body: Bytes) -> anyhow::Result<()> {
    ensure!(body.len() >= 5, "an answer without a message");
    let message = body.split_off(5);
    let answer = SendMessageResponse::decode(message).context("an answer that is no message")?;
    let accepted = match &*answer.accepted {
        [only] if answer.failures.is_empty() => only,
        _ => anyhow::bail!("not accepted: {answer:?}"),
    };
    ensure!(
        accepted.recipient == RECIPIENT && accepted.message_id == MESSAGE_ID,
        "another message's answer: {answer:?}"
    );
    Ok(())
}
