//! A file to be uploaded: opened, looked at, and read in chunks.

use std::{
    fs::File,
    io::{self, Read, Seek},
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use ring::digest::{self, SHA256};

use super::facts;
use crate::{media::MAX_CHUNK_BYTES, proto};

/// A file that can be read.
pub(in crate::cli) struct Source {
    path: PathBuf,
    file: File,
    /// None: a pipe or the like, which tells no size ahead and is read once.
    size_bytes: Option<u64>,
}

impl Source {
    /// Opens the file.
    pub(in crate::cli) fn open(path: &Path) -> anyhow::Result<Self> {
        let what = || format!("cannot read {}", path.display());
        let file = File::open(path).with_context(what)?;
        let metadata = file.metadata().with_context(what)?;
        ensure!(
            !metadata.is_dir(),
            "cannot read {}: it is a folder, and no file",
            path.display()
        );
        Ok(Self {
            size_bytes: metadata.is_file().then_some(metadata.len()),
            path: path.to_owned(),
            file,
        })
    }

    /// Its name, without its folder.
    pub(in crate::cli) fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Its size, where it is known ahead.
    pub(in crate::cli) fn size_bytes(&self) -> Option<u64> {
        self.size_bytes
    }

    /// Its MIME type by its name.
    pub(in crate::cli) fn content_type(&self) -> String {
        facts::content_type(&self.path).to_owned()
    }

    /// Width and height of an image in pixels.
    pub(in crate::cli) fn pixels(&self) -> anyhow::Result<Option<(u32, u32)>> {
        self.look(facts::pixels)
    }

    /// Length of a recording in seconds.
    pub(in crate::cli) fn seconds(&self) -> anyhow::Result<Option<u32>> {
        self.look(facts::seconds)
    }

    /// Reads what it can of the file, and goes back to its begin.
    fn look<T>(&self, facts: impl FnOnce(&File) -> Option<T>) -> anyhow::Result<Option<T>> {
        if self.size_bytes.is_none() {
            return Ok(None);
        }
        let found = facts(&self.file);
        (&self.file)
            .rewind()
            .with_context(|| format!("cannot read {}", self.path.display()))?;
        Ok(found)
    }

    /// Gives the file's chunks to `pass`, one after the other, until it wants no more; then what `finish`
    /// tells of them. None: `pass` wanted no more.
    pub(super) fn read(
        mut self,
        mut pass: impl FnMut(Bytes) -> bool,
    ) -> anyhow::Result<Option<proto::UploadFinish>> {
        let mut sum = digest::Context::new(&SHA256);
        let mut count = 0;
        loop {
            let chunk = chunk(&mut self.file)
                .with_context(|| format!("cannot read {}", self.path.display()))?;
            if chunk.is_empty() {
                break;
            }
            count += chunk.len() as u64;
            ensure!(
                self.size_bytes.is_none_or(|size| count <= size),
                self.changed()
            );
            sum.update(&chunk);
            if !pass(chunk) {
                return Ok(None);
            }
        }
        ensure!(
            self.size_bytes.is_none_or(|size| count == size),
            self.changed()
        );
        Ok(Some(proto::UploadFinish {
            size_bytes: Some(count),
            sha256: Bytes::copy_from_slice(sum.finish().as_ref()),
        }))
    }

    fn changed(&self) -> String {
        let path = self.path.display();
        format!("{path} changed its size while it was read")
    }
}

/// The next chunk: as large as one may be, unless it is the last. Empty at the end.
fn chunk(file: &mut File) -> io::Result<Bytes> {
    let mut chunk = Vec::with_capacity(MAX_CHUNK_BYTES);
    file.take(MAX_CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
    Ok(Bytes::from(chunk))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_read_in_full_chunks_and_summed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cat.bin");
        let content = vec![7; 2 * MAX_CHUNK_BYTES + 5];
        fs::write(&path, &content).unwrap();
        let source = Source::open(&path).unwrap();
        assert_eq!(source.name(), "cat.bin");
        assert_eq!(source.size_bytes(), Some(content.len() as u64));
        assert_eq!(source.pixels().unwrap(), None);

        let mut chunks = Vec::new();
        let finish = source.read(|chunk| {
            chunks.push(chunk);
            true
        });
        let finish = finish.unwrap().unwrap();
        assert_eq!(finish.size_bytes, Some(content.len() as u64));
        assert_eq!(*finish.sha256, *digest::digest(&SHA256, &content).as_ref());
        let sizes: Vec<_> = chunks.iter().map(Bytes::len).collect();
        assert_eq!(sizes, [MAX_CHUNK_BYTES, MAX_CHUNK_BYTES, 5]);
        assert!(chunks.concat() == content);
    }

    #[test]
    fn a_file_that_changes_its_size_is_not_taken_for_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        for later in ["", "abcdef"] {
            fs::write(&path, "abc").unwrap();
            let source = Source::open(&path).unwrap();
            fs::write(&path, later).unwrap();
            let error = source.read(|_| true).unwrap_err().to_string();
            assert!(error.contains("changed its size"), "{error}");
        }
    }

    #[test]
    fn what_is_no_file_is_told_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("none");
        for (path, why) in [(folder.path(), "is a folder"), (&missing, "No such file")] {
            let error = format!("{:#}", Source::open(path).err().unwrap());
            assert!(error.contains(why), "{error}");
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
    }
}
