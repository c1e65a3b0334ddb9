//! Whatever a client sends, it is answered, and never with a panic.

use proptest::prelude::*;
use realtime_core::connection::{Connection, Effect};
use realtime_core::{Limits, url_decoded};
use serde_json::{Map, Value as Json, json};

use crate::model::surface;
use crate::random;

fn connection(default_address: Option<&str>) -> Connection {
    Connection::new(surface(Limits::default()), default_address.map(str::to_owned), 0)
}

/// Exactly one effect: a request that is carried out, or a reply that is JSON and repeats the request's id.
fn answered(text: &str, default_address: Option<&str>) -> Result<(), TestCaseError> {
    let effects = connection(default_address).text(text, 0);
    prop_assert_eq!(effects.len(), 1, "{:?}", effects);
    if let Effect::Send(reply) = &effects[0] {
        let reply: Map<String, Json> = serde_json::from_str(reply).unwrap();
        prop_assert_eq!(&reply["type"], &json!("reply"));
        let id = match serde_json::from_str::<Json>(text) {
            Ok(Json::Object(mut members)) => members
                .remove("request_id")
                .filter(|id| id.is_string() || id.is_number())
                .unwrap_or(Json::Null),
            _ => Json::Null,
        };
        prop_assert_eq!(&reply["request_id"], &id);
        let status = reply["status"].as_u64().unwrap();
        prop_assert!((200..500).contains(&status), "{}", status);
        prop_assert_eq!(reply.contains_key("error"), status >= 400);
    } else {
        prop_assert!(!matches!(effects[0], Effect::Close(..)));
    }
    Ok(())
}

#[test]
fn json_is_nested_as_deep_as_it_may_be() {
    for (begin, end) in [("[", "]"), (r#"{"a":"#, "}")] {
        for depth in [126, 127, 128] {
            // The message and its payload are two.
            let value = format!("{}1{}", begin.repeat(depth - 2), end.repeat(depth - 2));
            let text = format!(r#"{{"stream":"notes","action":"create","payload":{{"id":{value}}}}}"#);
            let effects = connection(None).text(&text, 0);
            let is_too_deep = matches!(&effects[0], Effect::Send(reply) if reply.contains("parse_error"));
            assert_eq!((is_too_deep, effects.len()), (depth > 127, 1), "{depth}: {effects:?}");
        }
    }
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "notes", "tags", "list", "create", "update", "replace", "delete", "retrieve", "subscribe", "unsubscribe", "ping",
            "3", "x", "", "%", "%2", "%2F", "%ff", "nosuch",
        ])
        .prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

fn address() -> impl Strategy<Value = String> {
    prop::collection::vec(segment(), 0..5).prop_map(|segments| segments.join("/"))
}

fn message() -> impl Strategy<Value = Json> {
    let member = prop_oneof![
        3 => address().prop_map(|address| ("stream".to_owned(), json!(address))),
        2 => segment().prop_map(|action| ("action".to_owned(), json!(action))),
        1 => random::json().prop_map(|json| ("pk".to_owned(), json)),
        1 => random::json().prop_map(|json| ("payload".to_owned(), json)),
        2 => random::entries().prop_map(|entries| {
            ("payload".to_owned(), Json::Object(entries.into_iter().collect()))
        }),
        1 => random::json().prop_map(|json| ("request_id".to_owned(), json)),
        1 => (
            prop::sample::select(vec![
                "form", "fields", "actions", "snapshot", "since", "limit", "offset", "cursor", "ordering", "count", "search",
                "subscription", "stream", "action", "nosuch",
            ]),
            random::json(),
        )
            .prop_map(|(name, json)| (name.to_owned(), json)),
    ];
    prop::collection::vec(member, 0..6).prop_map(|members| Json::Object(members.into_iter().collect()))
}

proptest! {
    #![proptest_config(random::config(1_500))]

    #[test]
    fn any_text_is_answered(text in any::<String>()) {
        answered(&text, None)?;
    }

    #[test]
    fn any_json_is_answered(json in random::json()) {
        answered(&json.to_string(), None)?;
    }

    #[test]
    fn anything_that_looks_like_a_message_is_answered(json in message(), default in prop::option::of(address())) {
        answered(&json.to_string(), default.as_deref())?;
    }

    #[test]
    fn a_message_that_was_cut_or_damaged_is_answered(json in message(), at in any::<prop::sample::Index>(), by in any::<char>()) {
        let text = json.to_string();
        let at = (0..=at.index(text.len() + 1)).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        answered(&text[..at], None)?;
        let damaged = format!("{}{by}{}", &text[..at], &text[at..]);
        let effects = connection(None).text(&damaged, 0);
        prop_assert_eq!(effects.len(), 1);
    }

    #[test]
    fn a_text_survives_its_url_encoding(text in any::<String>()) {
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        prop_assert_eq!(url_decoded(&encoded), Some(text.clone()));
        prop_assert_eq!(url_decoded(&encoded.to_uppercase()), Some(text));
    }

    #[test]
    fn decoding_never_panics(text in any::<String>(), tail in "%[0-9a-fA-F]{0,2}") {
        let _ = url_decoded(&text);
        let _ = url_decoded(&format!("{text}{tail}"));
    }
}
