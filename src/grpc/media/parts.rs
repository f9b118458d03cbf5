//! The messages of an upload's stream, with its chunks in pieces: each goes on as soon as it comes, so that
//! a chunk is never in memory as a whole.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body as _;
use tokio_stream::Stream;
use tonic::{Code, Request, Status, Streaming, body::Body};

use super::head::{self, Head};
use crate::{
    grpc::layer::UploadBody,
    media::{Error, MAX_CHUNK_BYTES},
    proto::{self, send_media_message_request as send, upload_file_request as upload},
};

/// A message of an upload's stream.
pub(super) trait Message: prost::Message + Default + Unpin + 'static {
    /// How a message is made of a piece of a chunk, where this is the number of a chunk's field.
    fn chunk(field: u8) -> Option<fn(Bytes) -> Self>;
}

impl Message for proto::SendMediaMessageRequest {
    fn chunk(field: u8) -> Option<fn(Bytes) -> Self> {
        match field {
            2 => Some(|bytes| Self {
                part: Some(send::Part::ThumbnailChunk(bytes)),
            }),
            3 => Some(|bytes| Self {
                part: Some(send::Part::Chunk(bytes)),
            }),
            _ => None,
        }
    }
}

impl Message for proto::UploadFileRequest {
    fn chunk(field: u8) -> Option<fn(Bytes) -> Self> {
        match field {
            2 => Some(|bytes| Self {
                part: Some(upload::Part::Chunk(bytes)),
            }),
            _ => None,
        }
    }
}

/// What a caller streams.
pub(super) enum Parts<T> {
    /// Chunks in pieces, out of the request's body.
    Pieces(Box<Pieces<T>>),
    /// Chunks as a whole, out of compressed messages.
    Whole(Box<Streaming<T>>),
}

impl<T: Message> Parts<T> {
    /// The stream of this request.
    pub(super) fn of(mut request: Request<Streaming<T>>) -> Self {
        let upload = request.extensions_mut().remove::<UploadBody>();
        match upload.and_then(|upload| Some((upload.take()?, upload.max_message_bytes))) {
            Some((body, limit)) => Self::Pieces(Box::new(Pieces::new(body, limit))),
            None => Self::Whole(Box::new(request.into_inner())),
        }
    }
}

impl<T: Message> Stream for Parts<T> {
    type Item = Result<T, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.get_mut() {
            Self::Pieces(pieces) => pieces.poll_message(cx),
            Self::Whole(stream) => Pin::new(stream.as_mut())
                .poll_next(cx)
                .map(|message| message.map(|message| message.map_err(|status| broken(&status)))),
        }
    }
}

/// Reads messages out of a body.
pub(super) struct Pieces<T> {
    body: Body,
    max_message_bytes: usize,
    /// What came and was not looked at yet.
    arrived: Bytes,
    /// A message as far as it came: to its head, or to its end where it is no chunk.
    begun: BytesMut,
    state: State<T>,
}

enum State<T> {
    /// Between messages, or in the first bytes of one.
    Head,
    /// In a message that is wanted as a whole.
    Message { end: usize },
    /// In a chunk, this far from its end.
    Chunk {
        left: usize,
        message: fn(Bytes) -> T,
    },
}

impl<T: Message> Pieces<T> {
    fn new(body: Body, max_message_bytes: usize) -> Self {
        Self {
            body,
            max_message_bytes,
            arrived: Bytes::new(),
            begun: BytesMut::new(),
            state: State::Head,
        }
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, Error>>> {
        loop {
            match self.next_of_arrived() {
                Ok(None) => {}
                Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // Trailers say nothing in a request.
                    if let Ok(data) = frame.into_data() {
                        self.arrived = data;
                    }
                }
                Some(Err(status)) => return Poll::Ready(Some(Err(broken(&status)))),
                None if self.is_between() => return Poll::Ready(None),
                None => return Poll::Ready(Some(Err(head::no_message()))),
            }
        }
    }

    fn is_between(&self) -> bool {
        matches!(self.state, State::Head) && self.begun.is_empty()
    }

    /// The next message, or piece of a chunk, that has arrived.
    fn next_of_arrived(&mut self) -> Result<Option<T>, Error> {
        if matches!(self.state, State::Head) && !self.read_head()? {
            return Ok(None);
        }
        match &mut self.state {
            State::Head => Ok(None),
            State::Message { end } => {
                let missing = *end - self.begun.len();
                let come = self.arrived.split_to(missing.min(self.arrived.len()));
                self.begun.extend_from_slice(&come);
                if come.len() < missing {
                    return Ok(None);
                }
                self.state = State::Head;
                let message = self.begun.split().freeze().slice(head::PREFIX..);
                T::decode(message).map(Some).map_err(|_| head::no_message())
            }
            State::Chunk { left, message } => {
                if self.arrived.is_empty() {
                    return Ok(None);
                }
                let piece = self.arrived.split_to((*left).min(self.arrived.len()));
                *left -= piece.len();
                let (message, is_last) = (*message, *left == 0);
                if is_last {
                    self.state = State::Head;
                }
                Ok(Some(message(piece)))
            }
        }
    }

    /// Whether the head of a message is there. It has few bytes, and may be spread over frames.
    fn read_head(&mut self) -> Result<bool, Error> {
        while !self.arrived.is_empty() {
            self.begun.extend_from_slice(&[self.arrived.get_u8()]);
            match head::read(&self.begun, self.max_message_bytes)? {
                None => {}
                Some(Head::Message { end }) => {
                    self.state = State::Message { end };
                    return Ok(true);
                }
                Some(Head::OneField { number, size, end }) => {
                    self.state = match T::chunk(number) {
                        Some(_) if size > MAX_CHUNK_BYTES => return Err(Error::chunk_too_large()),
                        Some(message) => {
                            self.begun.clear();
                            State::Chunk {
                                left: size,
                                message,
                            }
                        }
                        None => State::Message { end },
                    };
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// A stream that broke: what the caller did, in words of ours.
fn broken(status: &Status) -> Error {
    match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => head::too_large(),
        Code::Internal | Code::InvalidArgument => head::no_message(),
        Code::Unimplemented => Error::Invalid("part", "is compressed in a way that is not served"),
        _ => Error::Incomplete("the caller broke off before finish"),
    }
}

#[cfg(test)]
mod tests {
    use http_body::Frame;
    use http_body_util::StreamBody;
    use proto::{UploadFileHeader, UploadFileRequest, UploadFinish};
    use tokio_stream::StreamExt;
    use upload::Part;

    use super::*;

    type Cuts = Vec<Result<Bytes, Status>>;

    /// The messages as they travel.
    fn encoded(parts: &[Part]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in parts {
            let part = Some(part.clone());
            let message = prost::Message::encode_to_vec(&UploadFileRequest { part });
            bytes.push(0);
            bytes.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(&message);
        }
        bytes
    }

    fn header() -> Part {
        Part::Header(UploadFileHeader {
            filename: "cat.jpg".to_owned(),
            ..UploadFileHeader::default()
        })
    }

    fn chunk(size: usize) -> Part {
        Part::Chunk(vec![7; size].into())
    }

    fn finish() -> Part {
        Part::Finish(UploadFinish::default())
    }

    fn read(cuts: Cuts) -> impl Stream<Item = Result<Option<Part>, Error>> + Unpin {
        let frames = tokio_stream::iter(cuts).map(|data| data.map(Frame::data));
        read_body(Body::new(StreamBody::new(frames)))
    }

    fn read_body(body: Body) -> impl Stream<Item = Result<Option<Part>, Error>> + Unpin {
        let pieces = Pieces::<UploadFileRequest>::new(body, 1024 * 1024);
        Parts::Pieces(Box::new(pieces)).map(|request| Ok(request?.part))
    }

    /// All that comes, with the bytes of chunks side by side.
    async fn collect(cuts: Cuts) -> Result<(Vec<Part>, Vec<u8>), Error> {
        let (mut parts, mut bytes) = (Vec::new(), Vec::new());
        let mut stream = read(cuts);
        while let Some(part) = stream.next().await {
            match part?.expect("every message has a part") {
                Part::Chunk(piece) => bytes.extend_from_slice(&piece),
                part => parts.push(part),
            }
        }
        Ok((parts, bytes))
    }

    #[tokio::test]
    async fn a_stream_is_the_same_however_it_is_cut() {
        let sent = encoded(&[header(), chunk(300), chunk(0), chunk(1), finish()]);
        for size in 1..=sent.len() {
            let cuts = sent.chunks(size).map(|cut| Ok(Bytes::copy_from_slice(cut)));
            let (parts, bytes) = collect(cuts.collect()).await.unwrap();
            assert_eq!(parts.len(), 2);
            assert!(parts[0] == header() && parts[1] == finish());
            assert_eq!(bytes, [7; 301]);
        }
    }

    #[tokio::test]
    async fn a_chunk_goes_on_before_it_is_whole() {
        let sent = encoded(&[chunk(300)]);
        let begun = Bytes::copy_from_slice(&sent[..100]);
        let frames = tokio_stream::iter([Ok::<_, Status>(Frame::data(begun.clone()))]);
        let body = Body::new(StreamBody::new(frames.chain(tokio_stream::pending())));
        let piece = read_body(body).next().await.unwrap().unwrap();
        let Some(Part::Chunk(piece)) = piece else {
            panic!("no chunk");
        };
        // As it came, and no copy of it.
        assert_eq!(piece.as_ptr_range().end, begun.as_ptr_range().end);
    }

    #[tokio::test]
    async fn a_chunk_beside_another_field_is_the_last_that_counts() {
        let mut message = prost::Message::encode_to_vec(&UploadFileRequest {
            part: Some(chunk(3)),
        });
        // An unknown field, and a second chunk.
        message.extend_from_slice(&[0x7a, 1, 7, 0x12, 1, 9]);
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let sent = [&[0], &length[..], &message].concat();
        let (_, bytes) = collect(vec![Ok(sent.into())]).await.unwrap();
        assert_eq!(bytes, [9]);
    }

    #[tokio::test]
    async fn an_end_within_a_message_is_no_end() {
        for part in [chunk(300), header(), chunk(0)] {
            let sent = encoded(&[part]);
            for to in 1..sent.len() {
                let cut = Bytes::copy_from_slice(&sent[..to]);
                let error = collect(vec![Ok(cut)]).await.unwrap_err();
                assert_eq!(error, head::no_message(), "after {to} bytes");
            }
        }
    }

    #[tokio::test]
    async fn a_caller_that_breaks_off_between_messages_has_not_ended() {
        let sent = encoded(&[header(), chunk(3)]).into();
        let broken = collect(vec![Ok(sent), Err(Status::aborted("gone"))]).await;
        assert!(matches!(broken, Err(Error::Incomplete(_))));
    }

    #[tokio::test]
    async fn what_is_too_large_is_refused_before_it_has_come() {
        let begin = |part| Ok(Bytes::copy_from_slice(&encoded(&[part])[..10]));
        let refused = collect(vec![begin(chunk(MAX_CHUNK_BYTES + 1))]).await;
        assert_eq!(refused.unwrap_err(), Error::chunk_too_large());
        let refused = collect(vec![begin(chunk(1024 * 1024))]).await;
        assert_eq!(refused.unwrap_err(), head::too_large());
        // Cut short, and nothing else is wrong with it.
        let largest = collect(vec![begin(chunk(MAX_CHUNK_BYTES))]).await;
        assert_eq!(largest.unwrap_err(), head::no_message());
    }
}
