//! What serde's attributes say of a field, a variant or a type.

use syn::parse::ParseStream;
use syn::{Attribute, LitStr, Token};

/// The items of `#[serde(…)]`, as far as they concern reading.
///
/// Attributes that do not parse are serde's to report.
#[derive(Default)]
pub(crate) struct SerdeAttributes {
    pub(crate) rename: Option<String>,
    pub(crate) rename_all: Option<Case>,
    pub(crate) rename_all_fields: Option<Case>,
    pub(crate) borrows: bool,
    pub(crate) is_skipped: bool,
    pub(crate) is_flattened: bool,
    pub(crate) is_untagged: bool,
}

impl SerdeAttributes {
    pub(crate) fn of(attributes: &[Attribute]) -> Self {
        let mut items = SerdeAttributes::default();
        let of_serde = attributes.iter().filter(|it| it.path().is_ident("serde"));
        for attribute in of_serde {
            let _ = attribute.parse_nested_meta(|meta| {
                let name = meta.path.get_ident().map(ToString::to_string);
                let value = value_when_reading(meta.input)?;
                let case = || value.as_deref().and_then(Case::named);
                match name.as_deref() {
                    Some("rename") => items.rename = value.or(items.rename.take()),
                    Some("rename_all") => items.rename_all = case().or(items.rename_all),
                    Some("rename_all_fields") => {
                        items.rename_all_fields = case().or(items.rename_all_fields);
                    }
                    Some("borrow") => items.borrows = true,
                    Some("skip" | "skip_deserializing") => items.is_skipped = true,
                    Some("flatten") => items.is_flattened = true,
                    Some("untagged") => items.is_untagged = true,
                    _ => {}
                }
                Ok(())
            });
        }
        items
    }
}

/// The value of `item = "…"`, or of `item(deserialize = "…")`, and none for a bare `item`.
fn value_when_reading(input: ParseStream<'_>) -> syn::Result<Option<String>> {
    if input.peek(Token![=]) {
        input.parse::<Token![=]>()?;
        return Ok(Some(input.parse::<LitStr>()?.value()));
    }
    if !input.peek(syn::token::Paren) {
        return Ok(None);
    }
    let inner;
    syn::parenthesized!(inner in input);
    let mut reading = None;
    while !inner.is_empty() {
        let direction: syn::Ident = inner.parse()?;
        inner.parse::<Token![=]>()?;
        let value = inner.parse::<LitStr>()?.value();
        if direction == "deserialize" {
            reading = Some(value);
        }
        if !inner.is_empty() {
            inner.parse::<Token![,]>()?;
        }
    }
    Ok(reading)
}

/// How serde spells the names of all fields or variants (`rename_all`).
#[derive(Clone, Copy)]
pub(crate) enum Case {
    Lower,
    Upper,
    Pascal,
    Camel,
    Snake,
    ScreamingSnake,
    Kebab,
    ScreamingKebab,
}

impl Case {
    fn named(name: &str) -> Option<Case> {
        Some(match name {
            "lowercase" => Case::Lower,
            "UPPERCASE" => Case::Upper,
            "PascalCase" => Case::Pascal,
            "camelCase" => Case::Camel,
            "snake_case" => Case::Snake,
            "SCREAMING_SNAKE_CASE" => Case::ScreamingSnake,
            "kebab-case" => Case::Kebab,
            "SCREAMING-KEBAB-CASE" => Case::ScreamingKebab,
            _ => return None,
        })
    }

    /// A field's name, which Rust spells in snake case.
    pub(crate) fn of_field(self, name: &str) -> String {
        match self {
            Case::Lower | Case::Snake => name.to_owned(),
            Case::Upper | Case::ScreamingSnake => name.to_ascii_uppercase(),
            Case::Pascal => name.split('_').map(capital).collect(),
            Case::Camel => lower_first(&Case::Pascal.of_field(name)),
            Case::Kebab => name.replace('_', "-"),
            Case::ScreamingKebab => name.to_ascii_uppercase().replace('_', "-"),
        }
    }

    /// A variant's name, which Rust spells in Pascal case.
    pub(crate) fn of_variant(self, name: &str) -> String {
        match self {
            Case::Pascal => name.to_owned(),
            Case::Lower => name.to_ascii_lowercase(),
            Case::Upper => name.to_ascii_uppercase(),
            Case::Camel => lower_first(name),
            Case::Snake | Case::ScreamingSnake | Case::Kebab | Case::ScreamingKebab => {
                self.of_field(&snake(name))
            }
        }
    }
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

fn capital(word: &str) -> String {
    let (first, rest) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
    first.to_ascii_uppercase() + rest
}

fn lower_first(name: &str) -> String {
    let (first, rest) = name.split_at(name.chars().next().map_or(0, char::len_utf8));
    first.to_ascii_lowercase() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of serde's own documentation of `rename_all`.
    #[test]
    fn names_are_spelled_as_serde_does() {
        let cases = [
            ("lowercase", "very_tasty", "verytasty"),
            ("UPPERCASE", "VERY_TASTY", "VERYTASTY"),
            ("PascalCase", "VeryTasty", "VeryTasty"),
            ("camelCase", "veryTasty", "veryTasty"),
            ("snake_case", "very_tasty", "very_tasty"),
            ("SCREAMING_SNAKE_CASE", "VERY_TASTY", "VERY_TASTY"),
            ("kebab-case", "very-tasty", "very-tasty"),
            ("SCREAMING-KEBAB-CASE", "VERY-TASTY", "VERY-TASTY"),
        ];
        for (name, field, variant) in cases {
            let case = Case::named(name).expect(name);
            assert_eq!(case.of_field("very_tasty"), field, "{name}");
            assert_eq!(case.of_variant("VeryTasty"), variant, "{name}");
        }
        assert!(Case::named("Title Case").is_none());
    }
}
