//! JSON by what it says and not by how it is written: keys in order, strings without escapes, numbers
//! as digits and exponent. It is written into a form that is summed, and that nobody reads.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// Adds a text to a form, so that no two lists of texts add the same.
pub(super) fn text(form: &mut Vec<u8>, text: &str) {
    length(form, text.len());
    form.extend_from_slice(text.as_bytes());
}

/// Adds a JSON value to a form.
pub(super) fn value(form: &mut Vec<u8>, json: &str) {
    let json = json.trim();
    match json.as_bytes().first() {
        Some(b'{') => {
            if let Ok(object) = serde_json::from_str::<BTreeMap<String, &RawValue>>(json) {
                return members(form, object.iter().map(|(key, value)| (&**key, *value)));
            }
        }
        Some(b'[') => {
            if let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(json) {
                form.extend_from_slice(b"[");
                length(form, list.len());
                list.iter().for_each(|element| value(form, element.get()));
                return;
            }
        }
        Some(b'"') => {
            if let Ok(string) = serde_json::from_str::<String>(json) {
                form.extend_from_slice(b"\"");
                return text(form, &string);
            }
        }
        Some(b'-' | b'0'..=b'9') => {
            if let Some(number) = number(json) {
                form.extend_from_slice(b"#");
                return text(form, &number);
            }
        }
        _ => {}
    }
    // Words of JSON's own, and what has no other form than its text.
    form.extend_from_slice(b"=");
    text(form, json);
}

/// Adds how many there are of something.
fn length(form: &mut Vec<u8>, count: usize) {
    // No message has as many of anything.
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    form.extend_from_slice(&count.to_le_bytes());
}

/// Adds an empty JSON object.
pub(super) fn no_members(form: &mut Vec<u8>) {
    members(form, std::iter::empty());
}

/// Adds the members of a JSON object, which come in the order of their keys.
fn members<'a>(
    form: &mut Vec<u8>,
    members: impl ExactSizeIterator<Item = (&'a str, &'a RawValue)>,
) {
    form.extend_from_slice(b"{");
    length(form, members.len());
    for (key, member) in members {
        text(form, key);
        value(form, member.get());
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
    use super::*;
    use proptest::prelude::*;

    fn form(json: &str) -> Vec<u8> {
        let mut form = Vec::new();
        value(&mut form, json);
        form
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
                same.iter().all(|json| form(json) == form(same[0])),
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
                assert_ne!(form(json), form(other), "{json} and {other}");
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
            prop_assert_eq!(form(&a.to_string()), form(&format!("{a}.{zeros}0")));
            prop_assert_eq!(form(&format!("{a}{zeros}")), form(&format!("{a}e{shift}")));
        }
    }
}
