//! JSON by what it says and not by how it is written: keys in order, strings without escapes, numbers
//! as digits and exponent.

use std::collections::BTreeMap;

use ring::digest::Context;
use serde_json::value::RawValue;

/// Adds a text to a hash, so that no two lists of texts add the same.
pub(super) fn text(hash: &mut Context, text: &str) {
    hash.update(&(text.len() as u64).to_le_bytes());
    hash.update(text.as_bytes());
}

/// Adds a JSON list of strings whose order means nothing.
pub(super) fn set(hash: &mut Context, json: &str) {
    let mut texts: Vec<String> = serde_json::from_str(json).unwrap_or_default();
    texts.sort_unstable();
    hash.update(&(texts.len() as u64).to_le_bytes());
    texts.iter().for_each(|entry| text(hash, entry));
}

/// Adds a JSON value to a hash.
pub(super) fn value(hash: &mut Context, json: &str) {
    let json = json.trim();
    match json.as_bytes().first() {
        Some(b'{') => {
            if let Ok(object) = serde_json::from_str::<BTreeMap<String, &RawValue>>(json) {
                return members(hash, object.iter().map(|(key, value)| (&**key, *value)));
            }
        }
        Some(b'[') => {
            if let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(json) {
                hash.update(b"[");
                hash.update(&(list.len() as u64).to_le_bytes());
                list.iter().for_each(|element| value(hash, element.get()));
                return;
            }
        }
        Some(b'"') => {
            if let Ok(string) = serde_json::from_str::<String>(json) {
                hash.update(b"\"");
                return text(hash, &string);
            }
        }
        Some(b'-' | b'0'..=b'9') => {
            if let Some(number) = number(json) {
                hash.update(b"#");
                return text(hash, &number);
            }
        }
        _ => {}
    }
    // Words of JSON's own, and what has no other form than its text.
    hash.update(b"=");
    text(hash, json);
}

/// Adds the members of a JSON object, which come in the order of their keys.
pub(super) fn members<'a>(
    hash: &mut Context,
    members: impl ExactSizeIterator<Item = (&'a str, &'a RawValue)>,
) {
    hash.update(b"{");
    hash.update(&(members.len() as u64).to_le_bytes());
    for (key, member) in members {
        text(hash, key);
        value(hash, member.get());
    }
}

/// A number as its digits without zeros at either end, and the power of ten that they are to be taken
/// by. Exact, however long.
fn number(json: &str) -> Option<String> {
    let (sign, unsigned) = match json.strip_prefix('-') {
        Some(unsigned) => ("-", unsigned),
        None => ("", json),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some("0".to_owned());
    }
    let zeros = i64::try_from(digits.len() - significant.len()).ok()?;
    let exponent = exponent
        .checked_sub(i64::try_from(fraction.len()).ok()?)?
        .checked_add(zeros)?;
    Some(format!("{sign}{significant}e{exponent}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ring::digest::SHA256;

    use super::*;

    fn hash(json: &str) -> Vec<u8> {
        let mut hash = Context::new(&SHA256);
        value(&mut hash, json);
        hash.finish().as_ref().to_vec()
    }

    #[test]
    fn one_value_written_in_several_ways_is_one() {
        for same in [
            &[
                "{\"a\":1,\"b\":[2,{}]}",
                " {\"b\" : [ 2, {} ],\n\"\\u0061\":1}",
            ][..],
            &["1", "1.0", "10e-1", "0.1E+1", "1e0", "1.000"],
            &["0", "-0", "0.0", "0e9", "-0.0e-3"],
            &["-1200", "-1.2e3", "-12E2"],
            &["\"a\\/\\u00e9\"", "\"a/é\""],
        ] {
            assert!(
                same.iter().all(|json| hash(json) == hash(same[0])),
                "{same:?}"
            );
        }
    }

    #[test]
    fn different_values_differ() {
        let all = [
            "1",
            "\"1\"",
            "[1]",
            "[[1]]",
            "[1,1]",
            "{\"a\":1}",
            "{\"a\":[1]}",
            "{\"a\":1,\"b\":1}",
            "{\"a\":{\"b\":1}}",
            "true",
            "false",
            "null",
            "\"true\"",
            "-1",
            "10",
            "0.1",
            "[]",
            "{}",
            "\"\"",
            "0",
            "9007199254740993",
            "9007199254740992",
            "18446744073709551617",
            "18446744073709551616",
            "1e400",
            "[\"a\",\"b\"]",
            "[\"ab\",\"\"]",
        ];
        for (i, json) in all.iter().enumerate() {
            for other in &all[..i] {
                assert_ne!(hash(json), hash(other), "{json} and {other}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn numbers_are_one_where_they_are_equal(a in -5_000i32..5_000, shift in 0usize..6) {
            let zeros = "0".repeat(shift);
            prop_assert_eq!(hash(&a.to_string()), hash(&format!("{a}.{zeros}0")));
            prop_assert_eq!(hash(&format!("{a}{zeros}")), hash(&format!("{a}e{shift}")));
        }
    }
}
