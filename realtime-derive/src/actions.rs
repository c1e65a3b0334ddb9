//! The attribute macro `actions`: makes functions of an `impl` block actions that clients can call.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{
    Attribute, FnArg, GenericArgument, ImplItem, ImplItemFn, ItemImpl, LitStr, PathArguments, ReceiverKind,
    ReturnType, Type,
};

use crate::attr::{ActionAttrs, ActionsAttrs, Rate};
use crate::errors::{Errors, listed};
use crate::expand::{Runtime, place};
use crate::vocabulary;

/// The forms of a function that is an action.
const FORM: &str = "an action is an `async fn` with a context and a store, and arguments before them if it takes any: \
     `async fn lock(&self, context: &Context<'_>, store: &mut Store<'_>) -> Result<Arc<Self>, Error>` on a row, \
     `async fn hide(arguments: Hide, context: &Context<'_>, store: &mut Store<'_>) -> Result<Hidden, Error>` on the \
     collection";

/// An action, as it is written.
struct Found {
    function: Ident,
    name: String,
    on_row: bool,
    arguments: Option<Type>,
    replies: Replies,
    /// Where it says so.
    answer: Span,
    description: String,
    attrs: ActionAttrs,
}

enum Replies {
    Nothing,
    Object,
    Value,
}

/// The block as it was, and the table of its actions.
pub(crate) fn expand(options: TokenStream, mut block: ItemImpl, home: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let attrs = ActionsAttrs::read(&options, &mut errors);
    let runtime = Runtime::new(attrs.runtime.as_ref(), home);
    let mut found: Vec<Found> = Vec::new();
    let (is_inherent, is_plain) = (block.trait_.is_none(), block.generics.params.is_empty());
    let of = block.self_ty.clone();
    for item in &mut block.items {
        let ImplItem::Fn(function) = item else { continue };
        let Some(marks) = take_marks(&mut function.attrs) else { continue };
        let action = read(function, &marks, &of, &mut errors);
        if let Some(same) = found.iter().find(|other| other.name == action.name) {
            let message = format!("`{}` is an action of that name already", same.function);
            errors.on(&function.sig.ident, message);
        }
        found.push(action);
    }
    if !is_inherent || !is_plain {
        errors.on(
            &block.self_ty,
            "`actions` stands above the `impl` of a model, without a trait and without generics",
        );
    } else if found.is_empty() {
        errors.on(&block.self_ty, "no function here is an action: write `#[action]` above each that is one");
    }
    let table = match errors.into_tokens() {
        None => table(&of, &found, &runtime),
        // That the model has none would be said as well, and hide what there is to do.
        Some(errors) if is_inherent && is_plain => {
            let nothing = implementation(&of, &[], &runtime);
            quote!(#errors const _: () = { #nothing };)
        }
        Some(errors) => errors,
    };
    quote!(#block #table)
}

/// Takes `#[action]` and `#[action(..)]` out of a function's attributes; `None` where there is none.
fn take_marks(attributes: &mut Vec<Attribute>) -> Option<Vec<Attribute>> {
    let (marks, others): (Vec<Attribute>, Vec<Attribute>) =
        std::mem::take(attributes).into_iter().partition(|attribute| attribute.path().is_ident("action"));
    *attributes = others;
    (!marks.is_empty()).then_some(marks)
}

fn read(function: &ImplItemFn, marks: &[Attribute], of: &Type, errors: &mut Errors) -> Found {
    let attrs = ActionAttrs::read(marks, &function.attrs, errors);
    let signature = &function.sig;
    let name = match &attrs.name {
        Some(name) => name.value(),
        None => signature.ident.unraw().to_string().replace('_', "-"),
    };
    let at = attrs.name.as_ref().map_or_else(|| signature.ident.span(), LitStr::span);
    check_name(&name, at, errors);
    if signature.asyncness.is_none() || !signature.generics.params.is_empty() {
        errors.on(&signature.ident, FORM);
    }
    let mut inputs = signature.inputs.iter().peekable();
    let on_row = match inputs.peek() {
        Some(FnArg::Receiver(receiver)) => {
            if !matches!(receiver.kind, ReceiverKind::Reference(_, _, None)) {
                errors.on(receiver, "an action on a row takes it as `&self`");
            }
            inputs.next();
            true
        }
        _ => false,
    };
    let mut types: Vec<&Type> = inputs
        .filter_map(|input| match input {
            FnArg::Typed(typed) => Some(&*typed.ty),
            FnArg::Receiver(_) => None,
        })
        .collect();
    let given = types.len();
    let is_borrowed = |ty: Option<&&Type>| matches!(ty, Some(Type::Reference(_)));
    if !(2..=3).contains(&given)
        || !is_borrowed(types.last())
        || !is_borrowed(types.get(given.wrapping_sub(2)))
    {
        errors.on(&signature.ident, FORM);
    }
    let arguments = (given == 3).then(|| types.remove(0).clone());
    if let Some(Type::Reference(reference)) = &arguments {
        errors.on(reference, "arguments are taken by value: a type that implements serde's `Deserialize`");
    }
    let replies = match &signature.output {
        ReturnType::Type(_, ty) => replies(ty, of),
        ReturnType::Default => {
            errors.on(&signature.ident, "an action returns a `Result<.., Error>`");
            Replies::Nothing
        }
    };
    let description = attrs.description.clone();
    let (function, answer) = (signature.ident.clone(), place(&signature.output));
    Found { function, name, on_row, arguments, replies, answer, description, attrs }
}

/// A name is a segment of a path, and the others' names are taken.
fn check_name(name: &str, at: Span, errors: &mut Errors) {
    let is_segment =
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte))
            && name.starts_with(|first: char| first.is_ascii_lowercase());
    let taken = vocabulary::names(vocabulary::ACTIONS).chain(vocabulary::RESERVED_ACTIONS.iter().copied());
    if !is_segment {
        errors.at(
            at,
            format!(
                "{name:?} cannot be the name of an action: it has letters from a to z, digits, `-` and `_`"
            ),
        );
    } else if taken.clone().any(|taken| taken == name) {
        let taken = listed(taken);
        errors.at(
            at,
            format!(
                "an action cannot be called `{name}`: {taken} are taken; write `#[action(name = \"..\")]`"
            ),
        );
    }
}

/// What stands in the result: nothing, a row of the model, or something else.
fn replies(output: &Type, of: &Type) -> Replies {
    let Some(value) = first_argument(output, "Result") else { return Replies::Value };
    if matches!(value, Type::Tuple(tuple) if tuple.elems.is_empty()) {
        return Replies::Nothing;
    }
    let is_of =
        |inner: &Type| matches!(inner, Type::Path(path) if path.path.is_ident("Self")) || same(inner, of);
    if first_argument(value, "Arc").is_some_and(is_of) { Replies::Object } else { Replies::Value }
}

fn same(left: &Type, right: &Type) -> bool {
    left.to_token_stream().to_string() == right.to_token_stream().to_string()
}

fn first_argument<'a>(ty: &'a Type, name: &str) -> Option<&'a Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|segment| segment.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

/// ```text
/// impl CustomActions for Topic {
///     const ACTIONS: &'static [CustomAction] = &[CustomAction { name: "lock", on_row: true, .. }];
/// }
/// ```
fn table(of: &Type, found: &[Found], runtime: &Runtime) -> TokenStream {
    let implementation = implementation(of, found, runtime);
    let announced = format!(
        "`{}` has actions that it does not announce: write `#[realtime(actions)]` on the struct",
        of.to_token_stream()
    );
    quote! {
        const _: () = {
            #implementation
            ::core::assert!(!<#of as #runtime::RealtimeResource>::DESCRIPTOR.custom.is_empty(), #announced);
        };
    }
}

fn implementation(of: &Type, found: &[Found], runtime: &Runtime) -> TokenStream {
    let actions = found.iter().map(|action| entry(action, runtime));
    quote! {
        #[automatically_derived]
        impl #runtime::CustomActions for #of {
            const ACTIONS: &'static [#runtime::CustomAction] = &[#(#actions),*];
        }
    }
}

fn entry(action: &Found, runtime: &Runtime) -> TokenStream {
    let Found { function, name, on_row, description, .. } = action;
    let [row, payload, context, store, arguments, done, principal, verb, ask] =
        ["row", "payload", "context", "store", "arguments", "done", "principal", "action", "ask"]
            .map(|name| Ident::new(&format!("__{name}"), Span::mixed_site()));
    let none = quote!(::core::option::Option::None);
    let some = |tokens: TokenStream| quote!(::core::option::Option::Some(#tokens));
    let taken = match &action.arguments {
        Some(ty) => quote!(#ty),
        None => quote!(#runtime::NoArguments),
    };
    let throttle = match action.attrs.throttle {
        None => none.clone(),
        Some(Rate { times, seconds }) => some(quote!(#runtime::Rate { times: #times, seconds: #seconds })),
    };
    let permission = match &action.attrs.permission {
        None => none,
        Some(rule) => {
            let span = place(rule);
            let at = runtime.at(span);
            let decide = quote_spanned! {span=>
                <_ as #at::Permission<Self>>::decide(&{ use #at::Rule as _; #rule }, #ask)
            };
            some(quote! {
                |#principal, #verb, #row| #runtime::decide::<Self>(#principal, #verb, #row, |#ask| #decide)
            })
        }
    };
    let (replies, reply) = match action.replies {
        Replies::Nothing => (quote!(Nothing), quote!(#runtime::nothing)),
        Replies::Object => (quote!(Object), quote!(#runtime::reply_row)),
        Replies::Value => {
            // What cannot be answered is said where the answer is declared.
            let (span, runtime) = (action.answer, runtime.at(action.answer));
            (quote!(Value), quote_spanned!(span=> #runtime::reply_value))
        }
    };
    let mut given = Vec::new();
    if *on_row {
        given.push(quote!(#runtime::acting_row::<Self>(#row)?));
    }
    given.extend(action.arguments.as_ref().map(|_| quote!(#arguments)));
    given.extend([quote!(#context), quote!(#store)]);
    let pattern = match (on_row, &action.arguments) {
        (true, _) => quote!(#row),
        (false, _) => quote!(_),
    };
    let bound = match &action.arguments {
        Some(_) => quote!(#arguments),
        None => quote!(#runtime::NoArguments {}),
    };
    quote! {
        #runtime::CustomAction {
            name: #name,
            on_row: #on_row,
            description: #description,
            replies: #runtime::Replies::#replies,
            throttle: #throttle,
            arguments: #runtime::describe_arguments::<#taken>,
            permission: #permission,
            run: |#pattern, #payload, #context, #store| #runtime::boxed(async move {
                let #bound = #runtime::read_arguments::<#taken>(#payload)?;
                let #done = Self::#function(#(#given),*).await?;
                ::core::result::Result::Ok(#reply(#done))
            }),
        }
    }
}
