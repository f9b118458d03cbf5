//! A part of a file, as players ask for it: one range of bytes (RFC 9110, section 14).

/// What the header `range` asks for, of so many bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Everything, also where the header is none that we know: a server may ignore it.
    Whole,
    /// From the first to the last of these, both included.
    Part { first: usize, last: usize },
    /// What is not there.
    Nothing,
}

pub(super) fn asked(header: Option<&str>, size: usize) -> Asked {
    let Some((first, last)) = header.and_then(parse) else {
        return Asked::Whole;
    };
    match (first, last) {
        (Some(first), last) => {
            let last = last.unwrap_or(usize::MAX);
            match first {
                _ if last < first => Asked::Whole,
                _ if first >= size => Asked::Nothing,
                first => Asked::Part {
                    first,
                    last: last.min(size - 1),
                },
            }
        }
        // The last so many.
        (None, Some(0)) => Asked::Nothing,
        (None, Some(_)) if size == 0 => Asked::Nothing,
        (None, Some(count)) => Asked::Part {
            first: size.saturating_sub(count),
            last: size - 1,
        },
        (None, None) => Asked::Whole,
    }
}

fn parse(header: &str) -> Option<(Option<usize>, Option<usize>)> {
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| match text.trim() {
        "" => Some(None),
        digits => digits.parse().ok().map(Some),
    };
    Some((number(first)?, number(last)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_what_is_there() {
        let part = |first, last| Asked::Part { first, last };
        for (header, expected) in [
            (None, Asked::Whole),
            (Some("bytes=0-"), part(0, 9)),
            (Some("bytes=0-0"), part(0, 0)),
            (Some("bytes=3-5"), part(3, 5)),
            (Some("bytes=3-500"), part(3, 9)),
            (Some("bytes=-4"), part(6, 9)),
            (Some("bytes=-40"), part(0, 9)),
            (Some("bytes=10-"), Asked::Nothing),
            (Some("bytes=-0"), Asked::Nothing),
            (Some("bytes=5-3"), Asked::Whole),
            (Some("bytes=-"), Asked::Whole),
            (Some("bytes=0-1,3-4"), Asked::Whole),
            (Some("bytes=a-b"), Asked::Whole),
            (Some("lines=1-2"), Asked::Whole),
        ] {
            assert_eq!(asked(header, 10), expected, "{header:?}");
        }
        for header in ["bytes=0-", "bytes=-1"] {
            assert_eq!(asked(Some(header), 0), Asked::Nothing);
        }
    }
}
