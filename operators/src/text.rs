//! Bytes that are text.

/// The bytes as text, if they are UTF-8.
///
/// Most bodies are ASCII, which is seen in a few instructions wherever they lie in memory. The check of
/// UTF-8 in the standard library goes byte by byte up to a word's border, and cost a hello world 120
/// instructions, 5 % of all.
#[inline]
pub(crate) fn text_of(bytes: &[u8]) -> Option<&str> {
    if bytes.is_ascii() {
        // SAFETY: ASCII is UTF-8.
        return Some(unsafe { str::from_utf8_unchecked(bytes) });
    }
    str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::text_of;

    proptest! {
        #[test]
        fn it_is_what_the_standard_library_says(
            bytes in prop_oneof![
                any::<Vec<u8>>(),
                "[ -~]{0,80}".prop_map(String::into_bytes),
                any::<String>().prop_map(String::into_bytes),
            ],
            from in 0..8_usize,
        ) {
            let bytes = &bytes[from.min(bytes.len())..];
            prop_assert_eq!(text_of(bytes), str::from_utf8(bytes).ok());
        }
    }
}
