//! The header fields of a request.

use std::fmt;

/// The header fields of a request in the order in which they came.
///
/// Names compare without regard to case, a name may come several times (RFC 9110, section 5).
#[derive(Clone, Copy)]
pub struct Headers<'r> {
    fields: &'r [httparse::Header<'r>],
}

impl<'r> Headers<'r> {
    /// The fields as the codec found them.
    #[inline]
    pub fn new(fields: &'r [httparse::Header<'r>]) -> Self {
        Headers { fields }
    }

    /// The value of the first field of this name.
    #[inline]
    pub fn get(&self, name: &str) -> Option<&'r [u8]> {
        self.get_all(name).next()
    }

    /// The value of the first field of this name, when it is UTF-8.
    #[inline]
    pub fn get_str(&self, name: &str) -> Option<&'r str> {
        self.get(name)
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The values of all fields of this name, in order.
    #[inline]
    pub fn get_all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'r [u8]> + use<'r, 'n> {
        self.fields
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    }

    /// All fields, as name and value.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (&'r str, &'r [u8])> + use<'r> {
        self.fields.iter().map(|field| (field.name, field.value))
    }

    /// How many fields there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

/// Shows the names only: values may be secrets.
impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.fields.iter().map(|field| field.name))
            .finish()
    }
}
