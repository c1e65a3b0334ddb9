//! What is asked of values: the tables for core, and the checks that the compiler makes of them.

use proc_macro2::{Ident, Literal as Token, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::LitInt;

use super::{Runtime, place};
use crate::ast::{Field, Model};
use crate::rule::{Bound, Literal, Rule, RuleKind};

/// ```text
/// &[Check::Length { min: Some(1), max: Some(200) }, ..]
/// ```
pub(super) fn table(field: &Field<'_>, runtime: &Runtime) -> TokenStream {
    let checks = field.rules().iter().map(|rule| check(field, rule, runtime));
    quote!(&[#(#checks),*])
}

fn check(field: &Field<'_>, rule: &Rule, runtime: &Runtime) -> TokenStream {
    match &rule.kind {
        RuleKind::Length { min, max } => {
            let (min, max) = (option(min.as_ref().map(plain)), option(max.as_ref().map(plain)));
            quote!(#runtime::Check::Length { min: #min, max: #max })
        }
        RuleKind::Range { min, max } => {
            let bound =
                |bound: &Option<Bound>| option(bound.as_ref().map(|bound| literal(&bound.literal, runtime)));
            let (min, max) = (bound(min), bound(max));
            quote!(#runtime::Check::Range { min: #min, max: #max })
        }
        RuleKind::Pattern(pattern) => quote! {
            #runtime::Check::Pattern(|| {
                static PATTERN: #runtime::Pattern = #runtime::Pattern::new(#pattern);
                &PATTERN
            })
        },
        RuleKind::Email => quote!(#runtime::Check::Email),
        RuleKind::Url => quote!(#runtime::Check::Url),
        RuleKind::Digits { total, places } => {
            let (total, places) = (option(total.as_ref().map(plain)), option(places.as_ref().map(plain)));
            quote!(#runtime::Check::Digits { digits: #total, places: #places })
        }
        RuleKind::Custom(function) => {
            let ty = field.ty;
            let span = place(function);
            let runtime = runtime.at(span);
            let value = super::local("value");
            quote_spanned!(span=> #runtime::Check::Custom(|#value| #runtime::custom::<#ty, _>(#value, #function)))
        }
    }
}

/// One constant for each thing that must fit the field's type, on the user's token.
///
/// ```text
/// const _: () = has_length(<String as Field>::KIND);
/// ```
pub(super) fn checks(model: &Model<'_>, runtime: &Runtime) -> TokenStream {
    model
        .fields
        .iter()
        .flat_map(|field| field.rules().iter().map(move |rule| fits(field, rule, runtime)))
        .collect()
}

fn fits(field: &Field<'_>, rule: &Rule, runtime: &Runtime) -> TokenStream {
    let ty = field.ty;
    let of_type = runtime.at(place(ty));
    let kind = quote_spanned!(place(ty)=> <#ty as #of_type::Field>::KIND);
    let span = place(&rule.name.span());
    let at = runtime.at(span);
    match &rule.kind {
        RuleKind::Length { .. } => quote_spanned!(span=> const _: () = #at::has_length(#kind);),
        RuleKind::Pattern(_) | RuleKind::Email | RuleKind::Url => {
            quote_spanned!(span=> const _: () = #at::is_text(#kind);)
        }
        RuleKind::Digits { .. } => quote_spanned!(span=> const _: () = #at::is_decimal(#kind);),
        RuleKind::Range { min, max } => min
            .iter()
            .chain(max)
            .map(|bound| {
                let span = bound.span.resolved_at(Span::call_site());
                let at = runtime.at(span);
                let literal = literal(&bound.literal, &at);
                quote_spanned!(span=> const _: () = #at::is_bound(#kind, #literal);)
            })
            .collect(),
        RuleKind::Custom(_) => TokenStream::new(),
    }
}

pub(super) fn literal(literal: &Literal, runtime: &Runtime) -> TokenStream {
    let (variant, value) = match literal {
        Literal::Integer(number) => ("Integer", Token::i64_suffixed(*number)),
        Literal::Float(number) => ("Float", Token::f64_suffixed(*number)),
        Literal::Decimal(text) => ("Decimal", Token::string(text)),
        Literal::Date(text) => ("Date", Token::string(text)),
        Literal::Time(text) => ("Time", Token::string(text)),
        Literal::Timestamp(text) => ("Timestamp", Token::string(text)),
    };
    let variant = Ident::new(variant, Span::call_site());
    quote!(#runtime::Literal::#variant(#value))
}

fn plain(number: &LitInt) -> TokenStream {
    let number = Token::u64_unsuffixed(number.base10_parse().unwrap_or_default());
    quote!(#number)
}

pub(super) fn option(value: Option<TokenStream>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}
