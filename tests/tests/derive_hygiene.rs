//! The derives where names mean something else than usual: no prelude, shadowed names, raw ones, names in a macro.

#![deny(warnings)]
#![deny(
    absolute_paths_not_starting_with_crate,
    elided_lifetimes_in_paths,
    missing_docs,
    non_local_definitions,
    single_use_lifetimes,
    trivial_casts,
    trivial_numeric_casts,
    unreachable_pub,
    unused_import_braces,
    unused_lifetimes,
    unused_qualifications,
    unused_results,
    variant_size_differences
)]

/// Names that a careless expansion would pick up.
#[allow(dead_code, non_camel_case_types)]
mod shadows {
    pub(crate) struct Option;
    pub(crate) struct Result;
    pub(crate) struct Some;
    pub(crate) struct None;
    pub(crate) struct Ok;
    pub(crate) struct Err;
    pub(crate) struct String;
    pub(crate) struct Value;
    pub(crate) struct Field;
    pub(crate) struct Descriptor;
    pub(crate) struct Record;
    pub(crate) struct usize;
    pub(crate) struct bool;
    pub(crate) mod core {}
    pub(crate) mod std {}
    pub(crate) mod diesel {}
    pub(crate) mod realtime_core {}
    pub(crate) trait ToValue {
        fn to_value(&self) {}
        fn value(&self, _: i32) {}
        fn read(&self) {}
        fn bind(&self) {}
        fn default_value(&self) {}
    }
    impl<T> ToValue for T {}
    pub(crate) use ::std::primitive::i32;
}

/// With the prelude: Diesel's macro names `Ok`.
mod schema {
    ::diesel::table! {
        comments (id) {
            id -> BigInt,
            #[sql_name = "type"]
            kind -> Text,
            field -> Integer,
            value -> Integer,
            context -> Nullable<Integer>,
            __field -> Bool,
            at -> Integer,
        }
    }
    ::diesel::table! {
        r#match (r#type) {
            r#type -> Integer,
            r#in -> Text,
        }
    }
}

#[no_implicit_prelude]
mod shadowed {
    use super::schema::comments;
    #[allow(unused_imports)]
    use super::shadows::*;

    // What the user's own expressions see must be the user's, not a local name of the expansion.
    #[allow(non_upper_case_globals)]
    const field: i32 = 11;
    #[allow(non_upper_case_globals)]
    const context: ::std::primitive::i32 = 12;

    /// A model whose fields are called as the expansion's own names are.
    #[derive(::realtime_core::RealtimeResource)]
    #[diesel(table_name = comments)]
    #[realtime(lookups(all), ordering(all), stream = "shadowed", actions)]
    #[allow(dead_code)]
    pub(crate) struct Comment {
        id: ::std::primitive::i64,
        kind: ::std::string::String,
        #[realtime(read_only, on_create = |at| { let _ = at; field })]
        field: i32,
        #[realtime(
            default = field,
            example = field,
            validate(
                range(min = 1, max = 100),
                custom = |at| if *at == field { ::std::result::Result::Err("eleven") } else { ::std::result::Result::Ok(()) },
            ),
            serialize_with = |row| row.value + field
        )]
        value: i32,
        #[realtime(default = context)]
        context: ::std::option::Option<i32>,
        #[realtime(rename = "its_field")]
        __field: ::std::primitive::bool,
        at: i32,
    }

    /// Arguments whose names are those of the expansion.
    #[derive(::serde::Deserialize)]
    pub(crate) struct Arguments {
        pub(crate) row: i32,
        pub(crate) store: ::std::option::Option<i32>,
    }

    #[::realtime_core::actions]
    impl Comment {
        /// With arguments, on a row.
        #[action(name = "move", throttle = "5/day", permission = ::realtime_core::policy::AllowAny)]
        pub(crate) async fn value(
            &self,
            arguments: Arguments,
            its: &::realtime_core::Context<'_>,
            store: &mut ::realtime_core::Store<'_>,
        ) -> ::std::result::Result<::std::sync::Arc<Self>, ::realtime_core::Error> {
            let _ = (its, arguments.row, arguments.store);
            let mut draft = ::realtime_core::Draft::of::<Self>();
            draft.set("value", field);
            store.update(self, &draft).await
        }

        /// Without, on none.
        #[action]
        pub(crate) async fn read(
            _: &::realtime_core::Context<'_>,
            _: &mut ::realtime_core::Store<'_>,
        ) -> ::std::result::Result<(), ::realtime_core::Error> {
            ::std::result::Result::Ok(())
        }

        #[allow(dead_code)]
        fn bind(&self) {}
    }
}

/// The crate under another name.
mod renamed {
    pub(crate) mod nested {
        pub(crate) use ::realtime_core::__private;
    }
}

#[no_implicit_prelude]
mod bare {
    use super::schema;

    /// An enum through the renamed crate.
    #[derive(::std::fmt::Debug, ::serde::Serialize, ::serde::Deserialize, ::realtime_core::RealtimeEnum)]
    #[realtime(crate = crate::renamed::nested)]
    pub(crate) enum Choice {
        r#In,
    }

    /// Raw names all over.
    #[derive(::realtime_core::RealtimeResource)]
    #[diesel(table_name = schema::r#match, primary_key(r#type))]
    #[realtime(
        crate = crate::renamed::nested,
        lookups(type(in), in(all)),
        ordering(in),
        subscription_field_mapping(match = "type__in", r#loop = "in__contains"),
        actions,
    )]
    pub(crate) struct Raw {
        pub(crate) r#type: ::std::primitive::i32,
        pub(crate) r#in: ::std::string::String,
    }

    #[::realtime_core::actions(crate = crate::renamed::nested)]
    impl Raw {
        /// A raw name, through the renamed crate.
        #[action]
        pub(crate) async fn r#match(
            &self,
            r#in: Choice,
            _: &::realtime_core::Context<'_>,
            _: &mut ::realtime_core::Store<'_>,
        ) -> ::std::result::Result<Choice, ::realtime_core::Error> {
            ::std::result::Result::Ok(r#in)
        }
    }

    macro_rules! model {
        (
            $name:ident, $table:path, $stream:literal, $action:ident -> $type_of:ty = $answer:expr,
            $key:ident: $ty:ty, $($field:ident: $type:ty = $default:expr),*
        ) => {
            /// A model out of a macro.
            #[derive(::realtime_core::RealtimeResource)]
            #[diesel(table_name = $table)]
            #[realtime(stream = $stream, lookups($key(exact), $($field(all)),*), ordering($($field),*), actions)]
            pub(crate) struct $name {
                $key: $ty,
                $(#[realtime(default = $default)] $field: $type,)*
            }

            #[::realtime_core::actions]
            impl $name {
                /// An action out of a macro.
                #[action]
                pub(crate) async fn $action(
                    &self,
                    context: &::realtime_core::Context<'_>,
                    _: &mut ::realtime_core::Store<'_>,
                ) -> ::std::result::Result<$type_of, ::realtime_core::Error> {
                    let _ = context;
                    ::std::result::Result::Ok($answer)
                }
            }
        };
    }

    model!(
        Generated, schema::comments, "generated", count -> ::std::primitive::i32 = 1 + 1,
        id: ::std::primitive::i64,
        value: ::std::primitive::i32 = 1 + 1,
        context: ::std::option::Option<::std::primitive::i32> = ::std::option::Option::None
    );
}

use bare::{Choice, Generated, Raw};

/// A model and its table inside a function.
#[test]
fn a_model_can_be_local() {
    use ::realtime_core::RealtimeResource;

    ::diesel::table! {
        locals (id) {
            id -> Integer,
        }
    }

    #[derive(RealtimeResource)]
    #[diesel(table_name = locals)]
    struct Local {
        id: ::std::primitive::i32,
    }

    ::std::assert_eq!(Local::DESCRIPTOR.stream, "locals");
    ::std::assert!(!::realtime_core::Record::value(&Local { id: 1 }, 0).is_null());
}

#[test]
fn expressions_see_what_the_user_sees() {
    use ::realtime_core::RealtimeResource;

    let principal = ::realtime_core::Principal::anonymous();
    let now = ::std::convert::Into::into(::std::time::SystemTime::UNIX_EPOCH);
    let context = ::realtime_core::Context { principal: &principal, now };
    let initial = |field: ::std::primitive::usize| {
        let value = match shadowed::Comment::DESCRIPTOR.fields[field].default {
            Some(default) => Ok(Some(default())),
            None => shadowed::Comment::initial(field, &context),
        };
        ::std::format!("{value:?}")
    };
    ::std::assert_eq!(initial(2), "Ok(Some(Int(11)))");
    ::std::assert_eq!(initial(3), "Ok(Some(Int(11)))");
    ::std::assert_eq!(initial(4), "Ok(Some(Int(12)))");
    let value = &shadowed::Comment::DESCRIPTOR.fields[3];
    ::std::assert_eq!(value.mistakes(&mut ::realtime_core::Value::Int(11)), ["eleven"]);
    ::std::assert_eq!(value.mistakes(&mut ::realtime_core::Value::Int(101)).len(), 1);
    ::std::assert!(value.computed.is_some() && value.example.is_some());
    ::std::assert_eq!(
        ::std::format!("{:?}", Generated::DESCRIPTOR.fields[1].default.map(|default| default())),
        "Some(Int(2))",
        "a default that a macro hands on"
    );
}

#[test]
fn raw_names_lose_their_prefix() {
    use ::realtime_core::RealtimeResource;

    let raw = Raw::DESCRIPTOR;
    ::std::assert_eq!((raw.table, raw.stream), ("match", "match"));
    ::std::assert_eq!((raw.fields[0].name, raw.fields[1].name), ("type", "in"));
    ::std::assert_eq!((raw.fields[0].column, raw.fields[1].column), ("type", "in"));
    ::std::assert_eq!((raw.aliases[0].name, raw.aliases[1].name), ("match", "loop"));
    let raw = Raw { r#type: 1, r#in: ::std::string::String::new() };
    ::std::assert!(!::realtime_core::Record::value(&raw, 1).is_null());
}

#[test]
fn actions_have_their_names_and_answers() {
    use ::realtime_core::{CustomActions, custom::Replies};

    let known = |actions: &'static [::realtime_core::CustomAction]| -> ::std::vec::Vec<_> {
        actions.iter().map(|action| (action.name, action.on_row, action.replies)).collect()
    };
    let shadowed = known(<shadowed::Comment as CustomActions>::ACTIONS);
    ::std::assert_eq!(shadowed, [("move", true, Replies::Object), ("read", false, Replies::Nothing)]);
    ::std::assert_eq!(known(<Raw as CustomActions>::ACTIONS), [("match", true, Replies::Value)]);
    ::std::assert_eq!(known(<Generated as CustomActions>::ACTIONS), [("count", true, Replies::Value)]);
    let named = (<shadowed::Comment as CustomActions>::ACTIONS[0].arguments)();
    let named: ::std::option::Option<::std::vec::Vec<_>> = named.map(|arguments| {
        arguments.iter().map(|argument| ::std::string::ToString::to_string(&argument.name)).collect()
    });
    ::std::assert_eq!(named, Some(::std::vec!["row".to_owned(), "store".to_owned()]));
}

#[test]
fn an_enum_is_a_field_under_the_renamed_crate() {
    let value = ::realtime_core::Field::to_value(&Choice::r#In);
    ::std::assert_eq!(::std::format!("{value:?}"), "Text(\"In\")");
}
