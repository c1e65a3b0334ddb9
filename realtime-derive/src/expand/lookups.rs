//! The checks that the compiler makes of lookups and groups: a macro does not know what a field's type is.

use proc_macro2::{Ident, TokenStream};
use quote::quote_spanned;

use super::{Runtime, place};
use crate::ast::{Field, Lookup, Lookups, Model};
use crate::vocabulary::PATH;

/// One constant per named lookup and per field that makes groups, on the user's token that names it.
///
/// ```text
/// const _: () = check_lookup(<String as Field>::KIND, Lookup::IStartsWith);
/// ```
pub(super) fn checks(model: &Model<'_>, runtime: &Runtime) -> TokenStream {
    let named = model.fields.iter().flat_map(|field| {
        match &field.lookups {
            Lookups::All => [].iter(),
            Lookups::These(lookups) => lookups.iter(),
        }
        .map(move |lookup| check(field, lookup, runtime))
    });
    let aliases = model.aliases.iter().filter_map(|alias| {
        let (field, lookup) = alias.target.as_ref()?;
        Some(check(model.fields.get(*field)?, lookup, runtime))
    });
    let groups = model.group_by.iter().flat_map(|(_, fields)| fields).filter_map(|(field, name)| {
        let ty = model.fields.get(*field)?.ty;
        let of_type = runtime.at(place(ty));
        let kind = quote_spanned!(place(ty)=> <#ty as #of_type::Field>::KIND);
        let span = place(name);
        let runtime = runtime.at(span);
        Some(quote_spanned!(span=> const _: () = #runtime::check_group(#kind);))
    });
    let searched = model.search.iter().filter_map(|(field, span)| {
        let ty = model.fields.get(*field)?.ty;
        let of_type = runtime.at(place(ty));
        let kind = quote_spanned!(place(ty)=> <#ty as #of_type::Field>::KIND);
        let span = place(span);
        let runtime = runtime.at(span);
        Some(quote_spanned!(span=> const _: () = #runtime::check_search(#kind);))
    });
    let zone = model.zone.map(|(name, _)| {
        let kinds = model.fields.iter().map(|field| {
            let ty = field.ty;
            let of_type = runtime.at(place(ty));
            quote_spanned!(place(ty)=> <#ty as #of_type::Field>::KIND)
        });
        let span = place(name);
        let runtime = runtime.at(span);
        quote_spanned!(span=> const _: () = #runtime::check_zone(&[#(#kinds),*]);)
    });
    named.chain(aliases).chain(groups).chain(searched).chain(zone).collect()
}

fn check(field: &Field<'_>, lookup: &Lookup, runtime: &Runtime) -> TokenStream {
    // Every kind of field has these two, among them the key's, which nobody wrote.
    if lookup.part.is_none() && lookup.path.is_empty() && matches!(lookup.variant, "Exact" | "In") {
        return TokenStream::new();
    }
    let ty = field.ty;
    let of_type = runtime.at(place(ty));
    let kind = quote_spanned!(place(ty)=> <#ty as #of_type::Field>::KIND);
    let span = place(&lookup.span);
    if lookup.variant == PATH || !lookup.path.is_empty() {
        let runtime = runtime.at(span);
        return quote_spanned!(span=> const _: () = #runtime::check_path(#kind););
    }
    let variant = Ident::new(lookup.variant, span);
    let runtime = runtime.at(span);
    match lookup.part {
        None => quote_spanned! {span=>
            const _: () = #runtime::check_lookup(#kind, #runtime::Lookup::#variant);
        },
        Some(part) => {
            let part = Ident::new(part, span);
            quote_spanned! {span=>
                const _: () = #runtime::check_part(#kind, #runtime::Part::#part);
                const _: () = #runtime::check_part_lookup(#runtime::Lookup::#variant);
            }
        }
    }
}
