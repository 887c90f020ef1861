//! Halves of surrogate pairs, which simd-json takes for a NUL.

/// Whether an escape of the text is one half of a surrogate pair without the other. The text is
/// JSON otherwise; one without a backslash is looked through once, quickly.
pub(super) fn stands_alone(json: &[u8]) -> bool {
    let mut rest = json;
    while let Some(escape) = memchr::memchr(b'\\', rest) {
        rest = &rest[escape..];
        match unit(rest) {
            Some(0xd800..=0xdbff) => match unit(&rest[6..]) {
                Some(0xdc00..=0xdfff) => rest = &rest[12..],
                _ => return true,
            },
            Some(0xdc00..=0xdfff) => return true,
            Some(_) => rest = &rest[6..],
            None => rest = rest.get(2..).unwrap_or_default(),
        }
    }
    false
}

/// The UTF-16 unit that an escape at the start of the text stands for.
fn unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::stands_alone;

    #[test]
    fn halves_are_found_and_pairs_are_not() {
        for (json, expected) in [
            (r#""plain""#, false),
            (r#""\ud83d\ude00""#, false),
            (r#""\ud83d\ude00\u00e9\n""#, false),
            (r#""\ud83d""#, true),
            (r#""\uDE00""#, true),
            (r#""\ud83d\ud83d\ude00""#, true),
            (r#""\ud83dx\ude00""#, true),
            (r#""\ude00\ud83d""#, true),
            // An escaped backslash, then text.
            (r#""\\ud83d""#, false),
            (r#""\\\ud83d""#, true),
        ] {
            assert_eq!(stands_alone(json.as_bytes()), expected, "{json}");
        }
    }
}
