//! The static tables of a resource.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Expr, Path};

use super::{Runtime, local, place, record, validate};
use crate::ast::{Alias, Base, Field, Lookups, Model, Relation};
use crate::rule::{Literal, plain_integer};
use crate::vocabulary::{PATH, VIEW_ACTIONS};

/// ```text
/// Descriptor { stream: "comments", table: "comments", fields: &[FieldDescriptor { .. }, ..], key: 0, .. }
/// ```
pub(super) fn expression(model: &Model<'_>, runtime: &Runtime) -> TokenStream {
    let Model { stream, description, .. } = model;
    let key = model.key.unwrap_or_default();
    let table = table_name(&model.table);
    let fields = model.fields.iter().map(|field| descriptor(field, model, runtime));
    let lookup = model.lookup.as_ref().map_or(key, |(field, _)| *field);
    let throttle = model.throttle.iter().map(|(action, rate)| {
        let (action, times, seconds) = (variant(action), rate.times, rate.seconds);
        quote!((#runtime::Action::#action, #runtime::Rate { times: #times, seconds: #seconds }))
    });
    let checks = model.checks.iter().map(|function| quote_spanned!(place(function)=> #function));
    let aliases = model.aliases.iter().filter_map(|alias| entry(alias, runtime));
    let group_by = model.group_by.iter().flat_map(|(_, fields)| fields.iter().map(|(field, _)| field));
    let offered = model.actions.as_deref().or(model.is_over_view.then_some(VIEW_ACTIONS));
    let actions = match offered {
        None => quote!(#runtime::ActionSet::ALL),
        Some(actions) => {
            let actions = actions.iter().map(|action| variant(action));
            quote!(#runtime::ActionSet::of(&[#(#runtime::Action::#actions),*]))
        }
    };
    let bases = model.bases.iter().map(|base| self::base(base, runtime));
    let custom = custom(model.has_actions, runtime);
    let lists = lists(model, runtime);
    let zone = zone(model, runtime);
    quote! {
        #runtime::Descriptor {
            stream: #stream,
            table: #table,
            bases: &[#(#bases),*],
            fields: &[#(#fields),*],
            key: #key,
            lookup: #lookup,
            throttle: &[#(#throttle),*],
            aliases: &[#(#aliases),*],
            group_by: &[#(#group_by),*],
            actions: #actions,
            custom: #custom,
            lists: #lists,
            rules: #runtime::Rules::of::<Self>(),
            checks: &[#(#checks),*],
            zone: #zone,
            description: #description,
        }
    }
}

/// ```text
/// Some(|| { static __ZONE: LazyLock<Zone> = LazyLock::new(|| Zone::of(chrono_tz::Europe::Berlin)); &__ZONE })
/// ```
fn zone(model: &Model<'_>, runtime: &Runtime) -> TokenStream {
    validate::option(model.zone.map(|(_, zone)| {
        let span = place(zone);
        let at = runtime.at(span);
        let table = quote_spanned!(span=> #at::Zone::of(#zone));
        let kept = local("ZONE");
        quote! {
            || -> &'static #runtime::Zone {
                static #kept: ::std::sync::LazyLock<#runtime::Zone> = ::std::sync::LazyLock::new(|| #table);
                &#kept
            }
        }
    }))
}

/// ```text
/// Base { table: "topics", column: <topics::id as Column>::NAME, field: 1 }
/// ```
fn base(base: &Base<'_>, runtime: &Runtime) -> TokenStream {
    let Base { table, column, field } = base;
    let name = table_name(table);
    quote! {
        #runtime::Base {
            table: #name,
            column: <#table::#column as #runtime::diesel::Column>::NAME,
            field: #field,
        }
    }
}

/// The name in the database: that of Diesel's module.
fn table_name(table: &Path) -> String {
    table.segments.last().map(|segment| segment.ident.unraw().to_string()).unwrap_or_default()
}

/// ```text
/// <Self as CustomActions>::ACTIONS
/// ```
pub(super) fn custom(has_actions: bool, runtime: &Runtime) -> TokenStream {
    if has_actions { quote!(<Self as #runtime::CustomActions>::ACTIONS) } else { quote!(&[]) }
}

/// ```text
/// FieldDescriptor { name: "body", column: <comments::body as Column>::NAME, kind: <String as Field>::KIND, .. }
/// ```
fn descriptor(field: &Field<'_>, model: &Model<'_>, runtime: &Runtime) -> TokenStream {
    let Field { ty, column, name, orderable, .. } = field;
    let table = &model.table;
    let attrs = &field.attrs;
    let description = attrs.help.as_ref().map_or_else(|| attrs.description.clone(), |(_, help)| help.value());
    let read_only = attrs.read_only.is_some() || model.is_over_view;
    let write_only = attrs.write_only.is_some();
    let computed = record::computed(field, runtime).map(|computed| quote!(#computed.shown_as()));
    let computed = validate::option(computed);
    let checks = validate::table(field, runtime);
    let message = attrs.validate.as_ref().and_then(|validate| validate.message.as_ref());
    let message = validate::option(message.map(|message| quote!(#message)));
    let default = stated(field, attrs.default.as_ref().map(|(_, expression)| expression), runtime);
    let example = stated(field, attrs.example.as_ref().map(|(_, expression)| expression), runtime);
    let (kind, nullable) = {
        let span = place(ty);
        let runtime = runtime.at(span);
        let trait_of_type = quote_spanned!(span=> <#ty as #runtime::Field>);
        (quote!(#trait_of_type::KIND), quote!(#trait_of_type::NULLABLE))
    };
    let required = match attrs.required {
        Some((_, required)) => quote!(#required),
        None if read_only || attrs.default.is_some() => quote!(false),
        None => quote!(!#nullable),
    };
    let lookups = match &field.lookups {
        Lookups::All => quote!(#runtime::LookupSet::of_kind(#kind)),
        Lookups::These(lookups) if lookups.is_empty() => quote!(#runtime::LookupSet::NONE),
        Lookups::These(lookups) => {
            let parts: Vec<Ident> = lookups.iter().filter_map(|lookup| lookup.part).map(variant).collect();
            let has_paths = lookups.iter().any(|lookup| lookup.variant == PATH);
            let lookups = lookups.iter().filter(|lookup| lookup.part.is_none() && lookup.variant != PATH);
            let lookups = lookups.map(|lookup| variant(lookup.variant));
            let mut set = quote!(#runtime::LookupSet::of(&[#(#runtime::Lookup::#lookups),*]));
            if !parts.is_empty() {
                set = quote!(#set.with_parts(&[#(#runtime::Part::#parts),*]));
            }
            if has_paths { quote!(#set.with_paths()) } else { set }
        }
    };
    // JSON has no order, and a macro does not know what is JSON.
    let orderable = if *orderable { quote!(!#kind.is_json()) } else { quote!(false) };
    quote! {
        #runtime::FieldDescriptor {
            name: #name,
            column: <#table::#column as #runtime::diesel::Column>::NAME,
            kind: #kind,
            nullable: #nullable,
            read_only: #read_only,
            write_only: #write_only,
            required: #required,
            default: #default,
            example: #example,
            checks: #checks,
            message: #message,
            computed: #computed,
            lookups: #lookups,
            orderable: #orderable,
            description: #description,
        }
    }
}

/// ```text
/// Lists { search: &[2], default_rows: None, most_rows: None, relations: &[Relation { name: "topic", .. }] }
/// ```
fn lists(model: &Model<'_>, runtime: &Runtime) -> TokenStream {
    let search = model.search.iter().map(|(field, _)| field);
    let [default_rows, most_rows] = model.pagination.each_ref().map(|rows| match rows {
        None => quote!(::core::option::Option::None),
        Some(rows) => quote!(::core::option::Option::Some(#rows)),
    });
    let relations = model.relations.iter().map(|Relation { name, field, target, nested, .. }| {
        let span = place(target);
        let at = runtime.at(span);
        let target = quote_spanned!(span=> <#target as #at::RealtimeResource>::DESCRIPTOR);
        quote!(#runtime::Relation { name: #name, field: #field, target: || #target, nested: #nested })
    });
    quote! {
        #runtime::Lists {
            search: &[#(#search),*],
            default_rows: #default_rows,
            most_rows: #most_rows,
            relations: &[#(#relations),*],
        }
    }
}

/// ```text
/// Some(|| stated::<Status>(Status::Published))
/// ```
fn stated(field: &Field<'_>, expression: Option<&Expr>, runtime: &Runtime) -> TokenStream {
    let ty = field.ty;
    validate::option(expression.map(|expression| {
        let span = place(expression);
        let runtime = runtime.at(span);
        match plain_integer(expression) {
            // By itself it would be an `i32`, which not every number's type is made from.
            Some(number) => {
                let literal = validate::literal(&Literal::Integer(number), &runtime);
                quote_spanned! {span=> {
                    const _: () = #runtime::is_default(<#ty as #runtime::Field>::KIND, #literal);
                    || #runtime::literal::<#ty>(#literal)
                }}
            }
            None => quote_spanned!(span=> || #runtime::stated::<#ty>(#expression)),
        }
    }))
}

/// ```text
/// Alias { name: "topic", field: 1, part: None, path: &[], lookup: Lookup::Exact }
/// ```
fn entry(alias: &Alias<'_>, runtime: &Runtime) -> Option<TokenStream> {
    let name = alias.name.unraw().to_string();
    let (field, lookup) = alias.target.as_ref()?;
    let part = match lookup.part.map(variant) {
        None => quote!(::core::option::Option::None),
        Some(part) => quote!(::core::option::Option::Some(#runtime::Part::#part)),
    };
    let path = &lookup.path;
    let lookup = variant(lookup.variant);
    Some(quote! {
        #runtime::Alias {
            name: #name,
            field: #field,
            part: #part,
            path: &[#(#path),*],
            lookup: #runtime::Lookup::#lookup,
        }
    })
}

fn variant(name: &str) -> Ident {
    Ident::new(name, Span::call_site())
}
