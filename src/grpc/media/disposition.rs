//! The name of a file in a Content-Disposition.

/// The name in a Content-Disposition: `filename*` (RFC 5987) before `filename`.
pub(super) fn filename(disposition: &str) -> Option<String> {
    let parameter = |name: &str| {
        disposition.split(';').find_map(|parameter| {
            let (key, value) = parameter.split_once('=')?;
            (key.trim().eq_ignore_ascii_case(name)).then(|| value.trim().to_owned())
        })
    };
    if let Some(extended) = parameter("filename*") {
        let (charset, rest) = extended.split_once('\'')?;
        let (_language, encoded) = rest.split_once('\'')?;
        if charset.eq_ignore_ascii_case("utf-8") {
            let decoded = percent_encoding::percent_decode_str(encoded).decode_utf8_lossy();
            return Some(decoded.into_owned());
        }
    }
    let name = parameter("filename")?;
    let name = name
        .trim_matches('"')
        .replace("\\\"", "\"")
        .replace("\\\\", "\\");
    Some(name).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_both_forms() {
        let name = |text| filename(text).unwrap_or_default();
        assert_eq!(name("attachment; filename=\"cat.jpg\""), "cat.jpg");
        assert_eq!(name("attachment; filename=cat.jpg"), "cat.jpg");
        assert_eq!(name("attachment; filename=\"a\\\"b.jpg\""), "a\"b.jpg");
        assert_eq!(
            name("attachment; filename=\"x\"; filename*=UTF-8''%E7%8C%AB.jpg"),
            "猫.jpg"
        );
        assert_eq!(name("attachment"), "");
        assert_eq!(name("filename*=UTF-8"), "");
    }
}
