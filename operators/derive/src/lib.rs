//! The derive macro of Snapback's rows.

mod serde_attributes;
mod shape;

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::{Attribute, Data, DeriveInput, Error, Field, GenericArgument, PathArguments, Type};

use serde_attributes::SerdeAttributes;

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
    let described = shape::describe(input);
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

fn is_trap(field: &Field, variant_borrows: bool) -> bool {
    let borrows = variant_borrows || SerdeAttributes::of(&field.attrs).borrows;
    // `Option<&str>` is the same trap one level down.
    let ty = inside_option(&field.ty).unwrap_or(&field.ty);
    match ty {
        Type::Reference(reference) => is_named(&reference.elem, "str"),
        Type::Path(_) => is_named(ty, "Cow") && !borrows,
        _ => false,
    }
}

/// The `T` of an `Option<T>`.
fn inside_option(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    match arguments.args.first()? {
        GenericArgument::Type(inner) if last.ident == "Option" => Some(inner),
        _ => None,
    }
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
    SerdeAttributes::of(attributes).borrows
}
