//! What a type looks like to who sends it, in a few words.

use quote::ToTokens;
use syn::{Data, DataEnum, DeriveInput, Field, Fields, Variant};

use crate::serde_attributes::{Case, SerdeAttributes};

/// `{foo: String, bar: i64}`, or `click {x: u32} | idle`, for the caller whose body does not fit.
/// Empty when there is nothing to tell.
pub(crate) fn describe(input: &DeriveInput) -> String {
    let attributes = SerdeAttributes::of(&input.attrs);
    match &input.data {
        Data::Struct(data) => named_fields(&data.fields, attributes.rename_all),
        Data::Enum(data) => variants(data, &attributes),
        Data::Union(_) => String::new(),
    }
}

fn variants(data: &DataEnum, attributes: &SerdeAttributes) -> String {
    let variants = data
        .variants
        .iter()
        .filter_map(|it| variant(it, attributes));
    variants.collect::<Vec<_>>().join(" | ")
}

fn variant(variant: &Variant, of_enum: &SerdeAttributes) -> Option<String> {
    let attributes = SerdeAttributes::of(&variant.attrs);
    if attributes.is_skipped {
        return None;
    }
    let case = attributes.rename_all.or(of_enum.rename_all_fields);
    let content = match &variant.fields {
        Fields::Named(_) => named_fields(&variant.fields, case),
        Fields::Unnamed(fields) => fields
            .unnamed
            .iter()
            .map(type_of)
            .collect::<Vec<_>>()
            .join(", "),
        Fields::Unit => String::new(),
    };
    if of_enum.is_untagged || attributes.is_untagged {
        return Some(content).filter(|content| !content.is_empty());
    }
    let name = variant.ident.to_string();
    let name = attributes.rename.unwrap_or_else(|| {
        of_enum
            .rename_all
            .map_or(name.clone(), |case| case.of_variant(&name))
    });
    Some(match (content.is_empty(), &variant.fields) {
        (true, _) => name,
        (false, Fields::Named(_)) => format!("{name} {content}"),
        (false, _) => format!("{name} ({content})"),
    })
}

fn named_fields(fields: &Fields, case: Option<Case>) -> String {
    let named: Vec<_> = fields
        .iter()
        .filter_map(|it| named_field(it, case))
        .collect();
    if named.is_empty() {
        String::new()
    } else {
        format!("{{{}}}", named.join(", "))
    }
}

fn named_field(field: &Field, case: Option<Case>) -> Option<String> {
    let attributes = SerdeAttributes::of(&field.attrs);
    let ident = field.ident.as_ref()?.to_string();
    let name = ident.trim_start_matches("r#");
    if attributes.is_skipped {
        return None;
    }
    if attributes.is_flattened {
        return Some(format!("…{}", type_of(field)));
    }
    let renamed = attributes.rename;
    let name = renamed.unwrap_or_else(|| case.map_or(name.to_owned(), |case| case.of_field(name)));
    Some(format!("{name}: {}", type_of(field)))
}

fn type_of(field: &Field) -> String {
    field.ty.to_token_stream().to_string().replace(' ', "")
}
