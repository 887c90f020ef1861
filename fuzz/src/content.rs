//! An encoded body.

use snapback::internals::decode_content;

/// More than a step decodes, so that a body takes several.
const LIMIT_BYTES: usize = 100_000;

const ENCODINGS: [&str; 6] = ["gzip", "deflate", "br", "zstd", "gzip, br", "zstd, deflate"];

/// The first byte chooses the coding, the others are the body.
///
/// # Panics
///
/// If a decoded body is longer than it may be, or is another one at the second time.
pub fn run(bytes: &[u8]) {
    let Some((choice, body)) = bytes.split_first() else {
        return;
    };
    let encoding = ENCODINGS[usize::from(*choice) % ENCODINGS.len()];
    let decoded = decode_content(encoding, body, LIMIT_BYTES);
    let Some(decoded) = decoded else {
        return;
    };
    assert!(decoded.len() <= LIMIT_BYTES, "{} bytes", decoded.len());
    if encoding.contains(',') {
        // What is between two codings may be larger than what comes of it.
        return;
    }
    let again = decode_content(encoding, body, decoded.len());
    assert_eq!(
        again.as_ref(),
        Some(&decoded),
        "it is exactly as long as the limit"
    );
    if let Some(less) = decoded.len().checked_sub(1) {
        assert_eq!(
            decode_content(encoding, body, less),
            None,
            "one byte more than the limit"
        );
    }
}
