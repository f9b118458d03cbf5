//! A caller's stream on its way to Easemob: frames in, bytes out, counted and summed. It says that a
//! file is whole only once `finish` agrees with what came: a caller that breaks off looks much like
//! one that has ended.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use ring::digest::{Context as Digest, SHA256};
use tokio_stream::Stream;

use super::{Config, Error, Finish, Frame, MAX_CHUNK_BYTES, pace::Pace};

/// Which file of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// The thumbnail of a video, which comes first.
    Thumbnail,
    /// The file itself.
    File,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Thumbnail => "thumbnail",
            Self::File => "file",
        })
    }
}

/// What a whole file came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Size in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the bytes.
    pub sha256: [u8; 32],
}

type Frames = Pin<Box<dyn Stream<Item = Result<Frame, Error>> + Send>>;

/// The stream of one upload: a file, or a thumbnail and then a file.
pub struct Upload {
    frames: Frames,
    pace: Pace,
    limit: u64,
    section: Section,
    declared: Option<u64>,
    /// A frame that was read and belongs to what comes next.
    pending: Option<Frame>,
    digest: Digest,
    count: u64,
    state: State,
}

enum State {
    Open,
    Whole(Summary),
    Broken(Error),
}

impl Upload {
    /// An upload of these frames, with an app's limit in bytes (0: none).
    pub fn new(
        frames: impl Stream<Item = Result<Frame, Error>> + Send + 'static,
        limit: u64,
        config: &Config,
    ) -> Self {
        Self {
            frames: Box::pin(frames),
            pace: Pace::new(config),
            limit,
            section: Section::File,
            declared: None,
            pending: None,
            digest: Digest::new(&SHA256),
            count: 0,
            state: State::Open,
        }
    }

    /// Begins a file of the stream, of this size where it is known ahead.
    pub fn begin(&mut self, section: Section, declared: Option<u64>) {
        self.section = section;
        self.declared = declared;
        self.digest = Digest::new(&SHA256);
        self.count = 0;
        self.state = State::Open;
    }

    /// Size of the file that was begun, where it is known ahead.
    pub fn declared(&self) -> Option<u64> {
        self.declared
    }

    /// What the whole file came to; none while it is not whole.
    pub fn summary(&self) -> Option<&Summary> {
        match &self.state {
            State::Whole(summary) => Some(summary),
            _ => None,
        }
    }

    /// Why the stream is no file, if it is none.
    pub fn error(&self) -> Option<&Error> {
        match &self.state {
            State::Broken(error) => Some(error),
            _ => None,
        }
    }

    /// Whether it is the caller that is being waited for.
    pub fn waits_for_caller(&self) -> bool {
        self.pace.is_waiting()
    }

    /// Whether the stream begins with a thumbnail, once its first frame is there.
    pub fn poll_has_thumbnail(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        let frame = match ready!(self.poll_frame(cx)) {
            Ok(frame) => frame,
            Err(error) => return Poll::Ready(Err(error)),
        };
        let is_thumbnail = matches!(frame, Frame::ThumbnailChunk(_));
        self.pending = Some(frame);
        Poll::Ready(Ok(is_thumbnail))
    }

    /// The next bytes of the file; none once it is whole.
    pub fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        loop {
            match &self.state {
                State::Open => {}
                State::Whole(_) => return Poll::Ready(None),
                State::Broken(error) => return Poll::Ready(Some(Err(error.clone()))),
            }
            let step = match ready!(self.poll_frame(cx)) {
                Ok(frame) => self.take(frame),
                Err(error) => Err(error),
            };
            match step {
                // An empty chunk would look like the end to HTTP.
                Ok(Some(bytes)) if bytes.is_empty() => {}
                Ok(Some(bytes)) => return Poll::Ready(Some(Ok(bytes))),
                Ok(None) => {}
                Err(error) => self.state = State::Broken(error),
            }
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, Error>> {
        if let Some(frame) = self.pending.take() {
            return Poll::Ready(Ok(frame));
        }
        match self.frames.as_mut().poll_next(cx) {
            Poll::Ready(Some(frame)) => {
                self.pace.answered();
                Poll::Ready(frame)
            }
            // A caller's cancel may look like this: only finish ends a file.
            Poll::Ready(None) => {
                Poll::Ready(Err(Error::Incomplete("the stream ended before finish")))
            }
            Poll::Pending => self.pace.poll_idle(cx).map(Err),
        }
    }

    fn take(&mut self, frame: Frame) -> Result<Option<Bytes>, Error> {
        match (self.section, frame) {
            (Section::Thumbnail, Frame::ThumbnailChunk(bytes))
            | (Section::File, Frame::Chunk(bytes)) => self.count(bytes).map(Some),
            (Section::File, Frame::ThumbnailChunk(_)) => Err(Error::OutOfOrder(
                "thumbnail chunks belong before the first chunk of a video, and to no other file",
            )),
            // The first chunk of the file ends the thumbnail.
            (Section::Thumbnail, frame) => {
                self.pending = Some(frame);
                self.close(&Finish::default())
            }
            (Section::File, Frame::Finish(finish)) => self.close(&finish),
        }
    }

    fn count(&mut self, bytes: Bytes) -> Result<Bytes, Error> {
        if bytes.len() > MAX_CHUNK_BYTES {
            return Err(Error::chunk_too_large());
        }
        self.pace.arrived(bytes.len())?;
        let count = self.count + bytes.len() as u64;
        if self.limit != 0 && count > self.limit {
            return Err(Error::TooLarge {
                what: self.section,
                limit: self.limit,
            });
        }
        if let Some(declared) = self.declared.filter(|&declared| count > declared) {
            return Err(self.mismatch("more", declared));
        }
        self.count = count;
        self.digest.update(&bytes);
        Ok(bytes)
    }

    fn close(&mut self, finish: &Finish) -> Result<Option<Bytes>, Error> {
        for declared in [self.declared, finish.size_bytes].into_iter().flatten() {
            if declared != self.count {
                let than = if declared < self.count {
                    "more"
                } else {
                    "fewer"
                };
                return Err(self.mismatch(than, declared));
            }
        }
        let digest = std::mem::replace(&mut self.digest, Digest::new(&SHA256)).finish();
        let sha256: [u8; 32] = digest.as_ref().try_into().expect("SHA-256 has 32 bytes");
        if !finish.sha256.is_empty() && *finish.sha256 != sha256 {
            return Err(Error::Mismatch(
                "the SHA-256 of the bytes that arrived differs from that in finish".to_owned(),
            ));
        }
        self.state = State::Whole(Summary {
            size_bytes: self.count,
            sha256,
        });
        Ok(None)
    }

    fn mismatch(&self, than: &str, declared: u64) -> Error {
        Error::Mismatch(format!(
            "the {} has {than} bytes than the {declared} that were declared",
            self.section
        ))
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("section", &self.section)
            .field("declared", &self.declared)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_stream::StreamExt;

    use super::*;

    fn chunk(text: &'static str) -> Result<Frame, Error> {
        Ok(Frame::Chunk(Bytes::from_static(text.as_bytes())))
    }

    fn thumbnail(text: &'static str) -> Result<Frame, Error> {
        Ok(Frame::ThumbnailChunk(Bytes::from_static(text.as_bytes())))
    }

    fn finish() -> Result<Frame, Error> {
        Ok(Frame::Finish(Finish::default()))
    }

    fn finish_with(size_bytes: u64) -> Result<Frame, Error> {
        Ok(Frame::Finish(Finish {
            size_bytes: Some(size_bytes),
            sha256: Bytes::new(),
        }))
    }

    fn upload(frames: Vec<Result<Frame, Error>>) -> Upload {
        Upload::new(tokio_stream::iter(frames), 10, &Config::default())
    }

    async fn has_thumbnail(upload: &mut Upload) -> bool {
        let first = std::future::poll_fn(|cx| upload.poll_has_thumbnail(cx));
        first.await.unwrap()
    }

    async fn read(upload: &mut Upload) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        while let Some(next) = std::future::poll_fn(|cx| upload.poll_bytes(cx)).await {
            bytes.extend_from_slice(&next?);
        }
        Ok(bytes)
    }

    #[tokio::test]
    async fn a_file_is_whole_once_finish_agrees() {
        let mut upload = upload(vec![chunk("ab"), chunk(""), chunk("c"), finish_with(3)]);
        assert_eq!(read(&mut upload).await.unwrap(), b"abc");
        let summary = upload.summary().unwrap();
        assert_eq!(summary.size_bytes, 3);
        let abc = ring::digest::digest(&SHA256, b"abc");
        assert_eq!(summary.sha256, abc.as_ref());
    }

    #[tokio::test]
    async fn without_finish_no_file_is_whole() {
        let mut upload = upload(vec![chunk("abc")]);
        let error = read(&mut upload).await.unwrap_err();
        assert!(matches!(error, Error::Incomplete(_)));
        assert!(upload.summary().is_none());
    }

    #[tokio::test]
    async fn what_does_not_agree_is_refused() {
        let wrong_sum = Frame::Finish(Finish {
            size_bytes: None,
            sha256: Bytes::from_static(&[0; 32]),
        });
        for frames in [
            vec![chunk("abc"), finish_with(2)],
            vec![chunk("abc"), finish_with(4)],
            vec![chunk("abc"), Ok(wrong_sum)],
        ] {
            let error = read(&mut upload(frames)).await.unwrap_err();
            assert!(matches!(error, Error::Mismatch(_)), "{error}");
        }
    }

    #[tokio::test]
    async fn a_declared_size_holds_from_both_sides() {
        for (declared, frames) in [
            (2, vec![chunk("abc"), finish()]),
            (4, vec![chunk("abc"), finish()]),
        ] {
            let mut upload = upload(frames);
            upload.begin(Section::File, Some(declared));
            let error = read(&mut upload).await.unwrap_err();
            assert!(matches!(error, Error::Mismatch(_)), "{error}");
        }
    }

    #[tokio::test]
    async fn the_byte_over_the_limit_is_not_passed_on() {
        let mut upload = upload(vec![chunk("0123456789"), chunk("x"), finish()]);
        let error = read(&mut upload).await.unwrap_err();
        assert!(matches!(error, Error::TooLarge { limit: 10, .. }));
    }

    #[tokio::test]
    async fn the_first_chunk_of_the_file_ends_the_thumbnail() {
        let mut upload = upload(vec![thumbnail("t"), chunk("v"), finish()]);
        assert!(has_thumbnail(&mut upload).await);
        upload.begin(Section::Thumbnail, Some(1));
        assert_eq!(read(&mut upload).await.unwrap(), b"t");
        upload.begin(Section::File, None);
        assert_eq!(read(&mut upload).await.unwrap(), b"v");
        assert_eq!(upload.summary().unwrap().size_bytes, 1);
    }

    #[tokio::test]
    async fn a_thumbnail_after_the_file_is_out_of_order() {
        let mut upload = upload(vec![chunk("v"), thumbnail("t"), finish()]);
        assert!(!has_thumbnail(&mut upload).await);
        let error = read(&mut upload).await.unwrap_err();
        assert!(matches!(error, Error::OutOfOrder(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_stands_still_is_given_up() {
        let frames = tokio_stream::iter([chunk("a")]).chain(tokio_stream::pending());
        let mut upload = Upload::new(frames, 10, &Config::default());
        let start = tokio::time::Instant::now();
        let error = read(&mut upload).await.unwrap_err();
        assert!(matches!(error, Error::Incomplete(_)));
        assert_eq!(start.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_creeps_is_given_up() {
        let frames = tokio_stream::iter(std::iter::repeat_with(|| chunk("a")))
            .throttle(Duration::from_secs(9));
        let mut upload = Upload::new(frames, 0, &Config::default());
        let start = tokio::time::Instant::now();
        let error = read(&mut upload).await.unwrap_err();
        assert!(matches!(error, Error::Incomplete(_)));
        assert!(start.elapsed().as_secs() < 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_thumbnail_that_takes_long_to_store_is_not_the_callers_fault() {
        let slowly = tokio_stream::iter([chunk("v"), finish()]).throttle(Duration::from_secs(1));
        let frames = tokio_stream::iter([thumbnail("t")]).chain(slowly);
        let mut upload = Upload::new(frames, 10, &Config::default());
        assert!(has_thumbnail(&mut upload).await);
        upload.begin(Section::Thumbnail, None);
        assert_eq!(read(&mut upload).await.unwrap(), b"t");
        tokio::time::sleep(Duration::from_secs(60)).await;
        upload.begin(Section::File, None);
        assert!(!upload.waits_for_caller());
        assert_eq!(read(&mut upload).await.unwrap(), b"v");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_easemob_is_not_the_callers_fault() {
        let mut upload = upload(vec![chunk("a"), chunk("b"), finish()]);
        let mut bytes = Vec::new();
        while let Some(next) = std::future::poll_fn(|cx| upload.poll_bytes(cx)).await {
            bytes.extend_from_slice(&next.unwrap());
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        assert_eq!(bytes, b"ab");
    }
}
