//! What the settings name and do not hold: the content of a file or of a variable. It may be missing at
//! the start, and it may change while the process runs.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwapOption;
use secrecy::{ExposeSecret, SecretString};

/// A content that stands outside of the settings, as it was last read.
pub struct Outside {
    place: Place,
    check: Check,
    current: ArcSwapOption<SecretString>,
    /// Held from a reading to its end, so that an older one does not replace a newer one.
    reading: Mutex<()>,
}

/// Makes the content of what was read, or says what is wrong with it.
type Check = fn(&str) -> Result<String, String>;

/// Where a content is.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// In this file.
    File(PathBuf),
    /// In the variable of this name.
    Variable(String),
    /// Here: for `easemob-gateway dev` and tests.
    Given(SecretString),
}

impl Outside {
    /// The content as it is now, which may be none.
    pub(super) fn new(place: Place, check: Check) -> Self {
        let outside = Self {
            place,
            check,
            current: ArcSwapOption::empty(),
            reading: Mutex::default(),
        };
        // What failed is told by the next reading as well.
        let _first = outside.reload();
        outside
    }

    /// The content that was last read; none where none could be read yet.
    pub fn get(&self) -> Option<Arc<SecretString>> {
        self.current.load_full()
    }

    /// The file that it is in, if it is in one.
    pub fn file(&self) -> Option<&Path> {
        match &self.place {
            Place::File(path) => Some(path),
            Place::Variable(_) | Place::Given(_) => None,
        }
    }

    /// Reads it again, which blocks on its file. Whether it is another one than before; where it cannot be
    /// used, what was read before still holds, and the error is a phrase that follows its setting's name.
    pub fn reload(&self) -> Result<bool, String> {
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        self.place.read().and_then(|text| self.store(&text))
    }

    /// The same with what somebody else has read from its file.
    pub fn take(&self, content: &[u8]) -> Result<bool, String> {
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        self.store(str::from_utf8(content).map_err(|_| "is not UTF-8 text")?)
    }

    fn store(&self, text: &str) -> Result<bool, String> {
        let text = (self.check)(text)?;
        let same = |old: Arc<SecretString>| old.expose_secret() == text;
        if self.get().is_some_and(same) {
            return Ok(false);
        }
        self.current.store(Some(Arc::new(SecretString::from(text))));
        Ok(true)
    }
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Outside").field(&self.place).finish()
    }
}

impl Place {
    fn read(&self) -> Result<String, String> {
        match self {
            Self::File(path) => fs::read_to_string(path)
                .map_err(|error| format!("cannot be read: {}: {error}", path.display())),
            Self::Variable(name) => {
                env::var(name).map_err(|_| format!("names the variable {name}, which is not set"))
            }
            Self::Given(text) => Ok(text.expose_secret().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn not_empty(text: &str) -> Result<String, String> {
        match text.trim() {
            "" => Err("holds nothing".into()),
            text => Ok(text.to_owned()),
        }
    }

    fn text(outside: &Outside) -> Option<String> {
        outside.get().map(|text| text.expose_secret().to_owned())
    }

    #[test]
    fn a_file_may_come_change_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let outside = Outside::new(Place::File(path.clone()), not_empty);
        assert!(
            outside
                .reload()
                .unwrap_err()
                .starts_with("cannot be read: ")
        );
        assert_eq!(text(&outside), None);

        fs::write(&path, " first\n").unwrap();
        assert_eq!(outside.reload(), Ok(true));
        assert_eq!(text(&outside).unwrap(), "first");
        fs::write(&path, "first").unwrap();
        assert_eq!(outside.reload(), Ok(false));

        // As it is while somebody writes it anew: the old one holds.
        fs::write(&path, "").unwrap();
        assert_eq!(outside.reload(), Err("holds nothing".into()));
        assert_eq!(outside.take(b"\xff"), Err("is not UTF-8 text".into()));
        assert_eq!(text(&outside).unwrap(), "first");

        assert_eq!(outside.take(b"second"), Ok(true));
        assert_eq!(text(&outside).unwrap(), "second");
    }

    #[test]
    fn a_content_is_not_in_debug_texts() {
        let outside = Outside::new(Place::Given("CANARY".into()), not_empty);
        assert!(!format!("{outside:?}").contains("CANARY"));
    }
}
