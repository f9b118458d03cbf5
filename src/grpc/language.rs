//! The language in which a caller would like to read errors, as its `accept-language` says.

use std::cell::Cell;

use http::{HeaderMap, header::ACCEPT_LANGUAGE};

/// A language that errors are told in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Language {
    /// What every status has.
    #[default]
    English,
    /// Simplified Chinese, as an addition to it.
    Chinese,
}

thread_local! {
    static CURRENT: Cell<Language> = const { Cell::new(Language::English) };
}

impl Language {
    /// The one that the caller prefers to all others; English where it does not say.
    pub fn of(headers: &HeaderMap) -> Self {
        let ranges = headers.get_all(ACCEPT_LANGUAGE).iter();
        let ranges = ranges.filter_map(|value| value.to_str().ok());
        let mut best = (0, Self::English);
        for range in ranges.flat_map(|value| value.split(',')) {
            let (tag, weight) = weighted(range);
            // The first of several that are wanted equally.
            if weight > best.0 {
                best = (weight, Self::tagged(tag));
            }
        }
        best.1
    }

    fn tagged(tag: &str) -> Self {
        let primary = tag.split('-').next().unwrap_or_default();
        if primary.eq_ignore_ascii_case("zh") {
            Self::Chinese
        } else {
            Self::English
        }
    }

    /// Its name, as in `accept-language`.
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-CN",
        }
    }

    /// That of the caller whose request is in work on this thread; see [`Language::scope`].
    pub fn current() -> Self {
        CURRENT.get()
    }

    /// Runs this, a step of a request, for a caller of this language.
    pub fn scope<T>(self, step: impl FnOnce() -> T) -> T {
        let _before = Before(CURRENT.replace(self));
        step()
    }
}

/// Puts back what was there, after a panic too.
struct Before(Language);

impl Drop for Before {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

/// A range and its weight in thousandths: `zh-CN;q=0.8`. What cannot be read counts for nothing.
fn weighted(range: &str) -> (&str, u16) {
    let (tag, parameter) = match range.split_once(';') {
        None => return (range.trim(), 1_000),
        Some((tag, parameter)) => (tag.trim(), parameter.trim()),
    };
    let weight = parameter
        .strip_prefix("q=")
        .or(parameter.strip_prefix("Q="));
    let weight = weight.and_then(|weight| weight.parse::<f32>().ok());
    let weight = weight.filter(|weight| (0.0..=1.0).contains(weight));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 1000"
    )]
    let thousandths = weight.map_or(0, |weight| (weight * 1_000.0) as u16);
    (tag, thousandths)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn chinese_is_for_those_who_like_it_best() {
        let asked = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_static(value));
            Language::of(&headers)
        };
        for chinese in [
            "zh",
            "zh-CN",
            "ZH-Hans-CN,en;q=0.9",
            "en;q=0.3, zh-TW;q=0.5",
            "zh, en",
        ] {
            assert_eq!(asked(chinese), Language::Chinese, "{chinese}");
        }
        for other in [
            "",
            "en",
            "en, zh",
            "zh;q=0",
            "zh;q=x",
            "zhx",
            "en;q=0.8,zh;q=0.2",
            "*",
        ] {
            assert_eq!(asked(other), Language::English, "{other}");
        }
        assert_eq!(Language::of(&HeaderMap::new()), Language::English);
    }

    #[test]
    fn a_language_ends_with_its_step() {
        Language::Chinese.scope(|| assert_eq!(Language::current(), Language::Chinese));
        assert_eq!(Language::current(), Language::English);
    }
}
