//! `impl RealtimeResource`: the descriptor and the values of new rows.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};

use super::{Runtime, descriptor, local, place};
use crate::ast::{Field, Initial, Model};

/// ```text
/// impl FieldOf<comments::id> for Comment { const INDEX: usize = 0; }
/// ..
/// impl RealtimeResource for Comment {
///     const DESCRIPTOR: &'static Descriptor = &Descriptor { .. };
///     fn initial(field: usize, context: &Context<'_>) -> Result<Option<Value<'static>>, Error> {
///         match field {
///             3 => Ok(default_value::<i32>(0)),
///             4 => on_create::<DateTime<Utc>, _>(context, |context| context.now),
///             _ => Ok(None),
///         }
///     }
/// }
/// ```
pub(super) fn implementation(model: &Model<'_>, runtime: &Runtime) -> TokenStream {
    let ident = model.ident;
    let (field, context) = (local("field"), local("context"));
    let descriptor = descriptor::expression(model, runtime);
    let arms: Vec<TokenStream> = model
        .fields
        .iter()
        .enumerate()
        .filter_map(|(index, described)| {
            let ty = described.ty;
            Some(match described.initial()? {
                Initial::Default(expression) => {
                    let span = place(expression);
                    let runtime = runtime.at(span);
                    let value = quote_spanned!(span=> #runtime::default_value::<#ty>(#expression));
                    quote!(#index => ::core::result::Result::Ok(#value),)
                }
                Initial::OnCreate(function) => {
                    let span = place(function);
                    let runtime = runtime.at(span);
                    let value = quote_spanned!(span=> #runtime::on_create::<#ty, _>(#context, #function));
                    quote!(#index => #value,)
                }
            })
        })
        .collect();
    let body = if arms.is_empty() {
        quote! {
            let _ = (#field, #context);
            ::core::result::Result::Ok(::core::option::Option::None)
        }
    } else {
        quote! {
            let _ = #context;
            match #field {
                #(#arms)*
                _ => ::core::result::Result::Ok(::core::option::Option::None),
            }
        }
    };
    let columns = model.fields.iter().enumerate().map(|(index, described)| {
        let Field { column, .. } = described;
        let table = &model.table;
        quote! {
            #[automatically_derived]
            impl #runtime::FieldOf<#table::#column> for #ident {
                const INDEX: ::core::primitive::usize = #index;
            }
        }
    });
    quote! {
        #(#columns)*

        #[automatically_derived]
        // The user's closure is written as the documentation has it: `|context| context.user_key()`.
        #[allow(clippy::redundant_closure, clippy::redundant_closure_for_method_calls)]
        impl #runtime::RealtimeResource for #ident {
            const DESCRIPTOR: &'static #runtime::Descriptor = &#descriptor;

            fn initial(
                #field: ::core::primitive::usize,
                #context: &#runtime::Context<'_>,
            ) -> ::core::result::Result<
                ::core::option::Option<#runtime::Value<'static>>,
                #runtime::Error,
            > {
                #body
            }
        }
    }
}
