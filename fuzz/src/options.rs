//! Texts as keys and values of options.

use snapback::options::{OPTIONS, OptionError, Options};

/// Lines `key=value`, set one after the other. A key may also be a number: the place of an option
/// in the table.
///
/// # Panics
///
/// If a refused option changes something, an accepted one is out of its range, or an error does
/// not name what it is about.
pub fn run(bytes: &[u8]) {
    let mut options = Options::default();
    for line in String::from_utf8_lossy(bytes).lines() {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let known = key
            .parse::<usize>()
            .ok()
            .and_then(|place| OPTIONS.get(place));
        let key = known.map_or(key, |spec| spec.key);
        let before = options.clone();
        match options.set(key, value) {
            Ok(()) => options.check().expect("what `set` takes is in its range"),
            Err(error) => {
                assert_eq!(options, before, "{line:?} was refused");
                let said = match &error {
                    OptionError::UnknownKey { key, .. } => key,
                    OptionError::BadValue { value, .. } => value,
                    other => panic!("an error that is not of this option: {other}"),
                };
                assert!(error.to_string().contains(said.as_str()), "{error}");
            }
        }
    }
}
