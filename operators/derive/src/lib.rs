//! The derive macro of Snapback's rows.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::{ToTokens, quote};
use syn::{Attribute, Data, DeriveInput, Error, Field, GenericArgument, PathArguments, Type};

/// Makes a struct or enum the family of rows that it is at each lifetime of a request.
///
/// The type may have one lifetime parameter, for what it borrows from the request, and no other
/// parameters. Where a field would be a trap for JSON, the row cannot be parsed from a request: a
/// `&str` field fails for every string that has an escape in it, and a `Cow` field without
/// `#[serde(borrow)]` always allocates.
#[proc_macro_derive(Row, attributes(serde))]
pub fn derive_row(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    expand(&input)
        .unwrap_or_else(Error::into_compile_error)
        .into()
}

fn expand(input: &DeriveInput) -> syn::Result<Tokens> {
    let name = &input.ident;
    let (family, at) = if borrows(input)? {
        (quote!(#name<'static>), quote!(#name<'row>))
    } else {
        (quote!(#name), quote!(#name))
    };
    let fields = fields(input);
    let described = describe(&fields);
    let parse_safe = (!has_trap(input)).then(|| {
        quote! {
            #[automatically_derived]
            impl ::snapback::ParseSafe for #family {}
        }
    });
    Ok(quote! {
        #[automatically_derived]
        impl ::snapback::Row for #family {
            type At<'row> = #at;
            const FIELDS: &'static str = #described;
        }
        #parse_safe
    })
}

/// Whether the type has the one lifetime parameter that it may have.
fn borrows(input: &DeriveInput) -> syn::Result<bool> {
    if let Some(parameter) = input.generics.type_params().next() {
        let message = "a row has no type parameters: name the types that it is used with";
        return Err(Error::new_spanned(parameter, message));
    }
    if let Some(parameter) = input.generics.const_params().next() {
        return Err(Error::new_spanned(
            parameter,
            "a row has no const parameters",
        ));
    }
    let mut lifetimes = input.generics.lifetimes();
    let borrows = lifetimes.next().is_some();
    match lifetimes.next() {
        None => Ok(borrows),
        Some(second) => {
            let message = "a row borrows from one request: give it one lifetime parameter";
            Err(Error::new_spanned(second, message))
        }
    }
}

fn fields(input: &DeriveInput) -> Vec<&Field> {
    match &input.data {
        Data::Struct(data) => data.fields.iter().collect(),
        Data::Enum(data) => data
            .variants
            .iter()
            .flat_map(|variant| &variant.fields)
            .collect(),
        Data::Union(_) => Vec::new(),
    }
}

/// `{foo: String, bar: i64}`, for the caller whose body does not fit.
fn describe(fields: &[&Field]) -> String {
    let named = fields.iter().filter_map(|field| {
        let ty = field.ty.to_token_stream().to_string().replace(' ', "");
        field
            .ident
            .as_ref()
            .map(|name| format!("{}: {ty}", renamed(field).unwrap_or(name.to_string())))
    });
    let named: Vec<_> = named.collect();
    if named.is_empty() {
        String::new()
    } else {
        format!("{{{}}}", named.join(", "))
    }
}

/// The name that `#[serde(rename = "…")]` gives to a field.
fn renamed(field: &Field) -> Option<String> {
    serde_item(&field.attrs, "rename")
}

fn has_trap(input: &DeriveInput) -> bool {
    match &input.data {
        Data::Struct(data) => data.fields.iter().any(|field| is_trap(field, false)),
        // serde takes the attributes of a newtype variant for those of its field.
        Data::Enum(data) => data.variants.iter().any(|variant| {
            let borrows = variant.fields.len() == 1 && has_serde_borrow(&variant.attrs);
            variant.fields.iter().any(|field| is_trap(field, borrows))
        }),
        Data::Union(_) => false,
    }
}

fn is_trap(field: &Field, borrows: bool) -> bool {
    match &field.ty {
        Type::Reference(reference) => is_named(&reference.elem, "str"),
        Type::Path(_) if is_named(&field.ty, "Cow") => !borrows && !has_serde_borrow(&field.attrs),
        Type::Path(_) => option_of_str(&field.ty),
        _ => false,
    }
}

/// `Option<&str>` is the same trap one level down.
fn option_of_str(ty: &Type) -> bool {
    let Type::Path(path) = ty else { return false };
    let Some(last) = path
        .path
        .segments
        .last()
        .filter(|last| last.ident == "Option")
    else {
        return false;
    };
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return false;
    };
    arguments.args.iter().any(|argument| match argument {
        GenericArgument::Type(Type::Reference(inner)) => is_named(&inner.elem, "str"),
        _ => false,
    })
}

fn is_named(ty: &Type, name: &str) -> bool {
    match ty {
        Type::Path(path) => path
            .path
            .segments
            .last()
            .is_some_and(|last| last.ident == name),
        _ => false,
    }
}

fn has_serde_borrow(attributes: &[Attribute]) -> bool {
    serde_item(attributes, "borrow").is_some()
}

/// What `#[serde(name = "…")]` says of a field or variant; empty when it says just `name`.
/// Attributes that do not parse are serde's to report.
fn serde_item(attributes: &[Attribute], name: &str) -> Option<String> {
    let mut found = None;
    for attribute in attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("serde"))
    {
        let _ = attribute.parse_nested_meta(|meta| {
            let value = match meta.input.peek(syn::Token![=]) {
                true => Some(meta.value()?.parse::<syn::LitStr>()?.value()),
                false => None,
            };
            if meta.path.is_ident(name) {
                found = Some(value.unwrap_or_default());
            }
            Ok(())
        });
    }
    found
}
