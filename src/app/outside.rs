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
    /// Why the last reading gave nothing, where it gave nothing.
    failure: Mutex<Option<String>>,
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

/// What reading a content again has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reading {
    /// Nothing new.
    Unchanged,
    /// It is another one than before.
    Changed,
    /// It cannot be used, for this cause, which is told once. What was read before still holds.
    Failed(String),
}

impl Outside {
    /// The content as it is now. One that cannot be read is told by [`Outside::failure`].
    pub(super) fn new(place: Place, check: Check) -> Self {
        let outside = Self {
            place,
            check,
            current: ArcSwapOption::empty(),
            failure: Mutex::default(),
        };
        let _first: Reading = outside.reload();
        outside
    }

    /// The content that was last read; none where none could be read yet.
    pub fn get(&self) -> Option<Arc<SecretString>> {
        self.current.load_full()
    }

    /// Why it cannot be read, as a phrase that follows the name of its setting.
    pub(super) fn failure(&self) -> Option<String> {
        self.last_failure().clone()
    }

    /// The file to watch, if it is one.
    pub(super) fn file(&self) -> Option<&Path> {
        match &self.place {
            Place::File(path) => Some(path),
            Place::Variable(_) | Place::Given(_) => None,
        }
    }

    /// Whether it is a file, and not a variable.
    pub(super) fn is_file(&self) -> bool {
        self.file().is_some()
    }

    /// Reads it again. Blocks on the file.
    pub(super) fn reload(&self) -> Reading {
        // Held throughout, so that two readings do not overtake each other.
        let mut failure = self.last_failure();
        match self.place.read().and_then(|text| (self.check)(&text)) {
            Ok(text) => {
                *failure = None;
                let same = |old: &Arc<SecretString>| old.expose_secret() == text;
                if self.get().as_ref().is_some_and(same) {
                    return Reading::Unchanged;
                }
                self.current.store(Some(Arc::new(SecretString::from(text))));
                Reading::Changed
            }
            Err(what) if failure.as_ref() == Some(&what) => Reading::Unchanged,
            Err(what) => {
                *failure = Some(what.clone());
                Reading::Failed(what)
            }
        }
    }

    fn last_failure(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
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
        assert!(outside.failure().unwrap().starts_with("cannot be read: "));
        assert_eq!(text(&outside), None);

        fs::write(&path, " first\n").unwrap();
        assert_eq!(outside.reload(), Reading::Changed);
        assert_eq!(text(&outside).unwrap(), "first");
        assert_eq!(outside.failure(), None);
        fs::write(&path, "first").unwrap();
        assert_eq!(outside.reload(), Reading::Unchanged);

        // As it is while somebody writes it anew: the old one holds, and the cause is told once.
        fs::write(&path, "").unwrap();
        assert_eq!(outside.reload(), Reading::Failed("holds nothing".into()));
        assert_eq!(outside.reload(), Reading::Unchanged);
        assert_eq!(text(&outside).unwrap(), "first");

        fs::write(&path, "second").unwrap();
        assert_eq!(outside.reload(), Reading::Changed);
        assert_eq!(text(&outside).unwrap(), "second");
    }

    #[test]
    fn a_content_is_not_in_debug_texts() {
        let outside = Outside::new(Place::Given("CANARY".into()), not_empty);
        assert!(!format!("{outside:?}").contains("CANARY"));
    }
}
