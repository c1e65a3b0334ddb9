//! `impl RealtimeResource`: the descriptor and the values of new rows.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::Expr;

use super::{Runtime, descriptor, local, place};
use crate::ast::{Field, Model};

/// ```text
/// impl FieldOf<comments::id> for Comment { const INDEX: usize = 0; }
/// ..
/// impl RealtimeResource for Comment {
///     const DESCRIPTOR: &'static Descriptor = &Descriptor { .. };
///     fn initial(field: usize, context: &Context<'_>) -> Result<Option<Value<'static>>, Error> {
///         match field {
///             4 => set_by_server::<DateTime<Utc>, _>(context, |context| context.now),
///             _ => Ok(None),
///         }
///     }
/// }
/// ```
pub(super) fn implementation(model: &Model<'_>, runtime: &Runtime) -> TokenStream {
    let ident = model.ident;
    let (field, context) = (local("field"), local("context"));
    let descriptor = descriptor::expression(model, runtime);
    let initial = values(model, runtime, |described| described.attrs.on_create.as_ref());
    let renewed = values(model, runtime, |described| described.attrs.on_update.as_ref());
    let method = |name: &str, arms: Vec<TokenStream>| {
        let name = Ident::new(name, Span::call_site());
        quote! {
            fn #name(
                #field: ::core::primitive::usize,
                #context: &#runtime::Context<'_>,
            ) -> ::core::result::Result<
                ::core::option::Option<#runtime::Value<'static>>,
                #runtime::Error,
            > {
                match #field {
                    #(#arms)*
                    _ => ::core::result::Result::Ok(::core::option::Option::None),
                }
            }
        }
    };
    let initial = (!initial.is_empty()).then(|| method("initial", initial));
    let renewed = (!renewed.is_empty()).then(|| method("renewed", renewed));
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

            #initial
            #renewed
        }
    }
}

/// The arms of a match that call the functions given for fields.
fn values<'a>(
    model: &'a Model<'_>,
    runtime: &Runtime,
    function: impl Fn(&'a Field<'_>) -> Option<&'a (Ident, Expr)>,
) -> Vec<TokenStream> {
    let context = local("context");
    let fields = model.fields.iter().enumerate();
    let arms = fields.filter_map(|(index, described)| {
        let (_, function) = function(described)?;
        let ty = described.ty;
        let span = place(function);
        let runtime = runtime.at(span);
        let value = quote_spanned!(span=> #runtime::set_by_server::<#ty, _>(#context, #function));
        Some(quote!(#index => #value,))
    });
    arms.collect()
}
