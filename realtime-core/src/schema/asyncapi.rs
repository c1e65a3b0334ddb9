//! AsyncAPI 3 of the socket side.

use serde_json::{Map, Value as Json, json};

use super::{Subject, arguments, error_members, event, filters, of_resource, reference, values};
use crate::custom::{CustomAction, Replies};
use crate::error::Code;
use crate::list::LIST_OPTIONS;
use crate::resource::Action;
use crate::view::View;

/// What describes the socket side of some resources: what a client may send, and what it is sent.
pub fn asyncapi(subject: &Subject<'_>) -> Json {
    let mut parts = Parts::default();
    for view in &subject.views {
        of_resource(view, &mut parts.schemas);
        for action in Action::ALL.iter().filter(|action| view.descriptor().actions.contains(**action)) {
            request(subject, view, *action, &mut parts);
        }
        for custom in view.descriptor().custom {
            call(view, custom, &mut parts);
        }
        if view.descriptor().actions.contains(Action::Subscribe) {
            told(view, &mut parts);
        }
    }
    let mut error = json!({"type": "object", "required": ["code", "detail"]});
    error["properties"] = error_members(Code::ALL).into();
    parts.schemas.insert("Error".to_owned(), error);
    for (action, payload, data) in [
        (
            "ping",
            json!({"type": "object"}),
            json!({"time": {"type": "string"}, "cursor": {"type": "string"}}),
        ),
        (
            "authenticate",
            json!({
                "type": "object", "required": ["token"], "additionalProperties": false,
                "properties": {"token": {"type": "string"}},
            }),
            json!({"expires_at": {"type": ["string", "null"]}}),
        ),
    ] {
        let schema = message(json!({"action": {"const": action}, "payload": payload}), &["action"]);
        parts.request(action, schema, reply(None, action, json!({"type": "object", "properties": data})));
    }
    let base = subject.base.trim_end_matches('/');
    let Parts { messages, operations, schemas } = parts;
    let on_channel: Map<String, Json> = messages
        .keys()
        .map(|name| (name.clone(), json!({"$ref": format!("#/components/messages/{name}")})))
        .collect();
    json!({
        "asyncapi": "3.0.0",
        "info": subject.info(),
        "defaultContentType": "application/json",
        "channels": {
            "socket": {
                "address": format!("{base}/ws"),
                "description": "One JSON object for each text frame, subprotocol `realtime.v1.json`.",
                "messages": on_channel,
                "bindings": {"ws": {"method": "GET"}},
            },
        },
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    })
}

#[derive(Default)]
struct Parts {
    messages: Map<String, Json>,
    operations: Map<String, Json>,
    schemas: Map<String, Json>,
}

impl Parts {
    fn message(&mut self, name: &str, payload: Json) {
        self.messages.insert(name.to_owned(), json!({"name": name, "payload": payload}));
    }

    /// A message that a client sends, and the one answer to it.
    fn request(&mut self, name: &str, payload: Json, answer: Json) {
        let reply = format!("{name}.reply");
        self.message(name, payload);
        self.message(&reply, answer);
        self.operations.insert(
            name.to_owned(),
            json!({
                "action": "receive",
                "channel": {"$ref": "#/channels/socket"},
                "messages": [on_channel(name)],
                "reply": {"channel": {"$ref": "#/channels/socket"}, "messages": [on_channel(&reply)]},
            }),
        );
    }
}

fn on_channel(message: &str) -> Json {
    json!({"$ref": format!("#/channels/socket/messages/{message}")})
}

fn message(properties: Json, required: &[&str]) -> Json {
    let mut schema = json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    });
    schema["properties"]["request_id"] = json!({"type": ["string", "number", "null"]});
    schema
}

fn request(subject: &Subject<'_>, view: &View<'_>, action: Action, parts: &mut Parts) {
    let descriptor = view.descriptor();
    let stream = descriptor.stream;
    let object = reference(stream);
    let mut properties = json!({"stream": {"const": stream}, "action": {"const": action.name()}});
    let mut required = vec!["stream", "action"];
    let key = key(view);
    if action.needs_key() {
        properties["pk"] = key;
        required.push("pk");
    } else if matches!(action, Action::Subscribe | Action::Unsubscribe) {
        properties["pk"] = key;
    }
    let data = match action {
        Action::Create | Action::Replace => {
            properties["payload"] = reference(&format!("{stream}.payload"));
            required.push("payload");
            object
        }
        Action::Update => {
            properties["payload"] = reference(&format!("{stream}.changes"));
            object
        }
        Action::Retrieve => object,
        Action::Delete | Action::Unsubscribe | Action::Custom(_) => Json::Null,
        Action::List => json!({
            "type": "object",
            "properties": {
                "results": {"type": "array", "items": reference(&format!("{stream}.row"))},
                "next": {"type": ["string", "null"]},
                "previous": {"type": ["string", "null"]},
                "count": {"type": ["integer", "null"]},
                "feed": {"type": "string"},
            },
            "required": ["results", "next", "previous", "count", "feed"],
        }),
        Action::Subscribe => json!({
            "type": "object",
            "properties": {
                "subscription": {"type": "string"},
                "cursor": {"type": "string"},
                "recovered": {"type": "boolean"},
            },
            "required": ["subscription", "cursor", "recovered"],
        }),
    };
    match action {
        Action::List => {
            properties["payload"] = filter(subject, view, true);
            for option in LIST_OPTIONS {
                properties[*option] = list_option(option);
            }
        }
        Action::Subscribe | Action::Unsubscribe => {
            properties["payload"] = filter(subject, view, false);
            properties["form"] = json!({"enum": ["diff", "full"]});
            properties["fields"] = json!({"type": "array", "items": {"type": "string"}});
            properties["actions"] = json!({
                "type": "array", "minItems": 1, "items": {"enum": ["create", "update", "delete"]},
            });
            properties["snapshot"] = json!({"type": "boolean"});
            properties["since"] = json!({"type": ["string", "null"], "maxLength": 512});
            if action == Action::Unsubscribe {
                properties["subscription"] = json!({"type": "string"});
            }
        }
        _ => {}
    }
    let name = format!("{stream}.{}", action.name());
    parts.request(&name, message(properties, &required), reply(Some(stream), action.name(), data));
}

/// A request for an action of the application's.
fn call(view: &View<'_>, custom: &CustomAction, parts: &mut Parts) {
    let stream = view.descriptor().stream;
    let mut properties = json!({"stream": {"const": stream}, "action": {"const": custom.name}});
    let mut required = vec!["stream", "action"];
    if custom.on_row {
        properties["pk"] = key(view);
        required.push("pk");
    }
    let (payload, needed) = arguments(custom);
    properties["payload"] = payload;
    if needed {
        required.push("payload");
    }
    let data = match custom.replies {
        Replies::Nothing => Json::Null,
        Replies::Object => reference(stream),
        Replies::Value => json!({}),
    };
    let name = format!("{stream}.{}", custom.name);
    let mut schema = message(properties, &required);
    if !custom.description.is_empty() {
        schema["description"] = custom.description.into();
    }
    parts.request(&name, schema, reply(Some(stream), custom.name, data));
}

fn key(view: &View<'_>) -> Json {
    json!({"anyOf": [values::of_kind(view.descriptor().key_field().kind), {"type": "string"}]})
}

fn list_option(name: &str) -> Json {
    match name {
        "limit" | "page_size" | "page" => json!({"type": "integer", "minimum": 1}),
        "offset" => json!({"type": "integer", "minimum": 0}),
        "count" => json!({"type": "boolean"}),
        "fields" | "expand" => json!({"type": ["array", "string"], "items": {"type": "string"}}),
        _ => json!({"type": "string"}),
    }
}

/// A filter as a payload.
fn filter(subject: &Subject<'_>, view: &View<'_>, across: bool) -> Json {
    let keys = filters::keys(subject, view).into_iter().filter(|key| across || !key.across);
    let properties: Map<String, Json> =
        keys.map(|key| (key.name.clone(), key.argument(&subject.limits))).collect();
    json!({
        "type": "object",
        "description": "Each key may have `not__` before it, which selects exactly the other rows.",
        "properties": properties,
        "patternProperties": {"^not__": {}},
    })
}

/// The answer to a request: what was asked for, or what went wrong.
fn reply(stream: Option<&str>, action: &str, data: Json) -> Json {
    let mut properties = json!({
        "type": {"const": "reply"},
        "request_id": {"type": ["string", "number", "null"]},
        "stream": {"const": stream},
        "action": {"const": action},
        "status": {"type": "integer"},
        "error": reference("Error"),
    });
    if !data.is_null() {
        properties["data"] = data;
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": ["type", "request_id", "stream", "action", "status"],
    })
}

/// What a subscription's holders are told.
fn told(view: &View<'_>, parts: &mut Parts) {
    let descriptor = view.descriptor();
    let stream = descriptor.stream;
    let head = |kind: &str| {
        json!({
            "type": {"const": kind},
            "subscription": {"type": "string"},
            "stream": {"const": stream},
            "cursor": {"type": "string"},
        })
    };
    let mut event = event(view);
    event["subscription"] = json!({"type": "string"});
    let mut snapshot = head("snapshot");
    snapshot["data"] = json!({"type": "array", "items": reference(&format!("{stream}.part"))});
    snapshot["done"] = json!({"type": "boolean"});
    let mut lagged = head("lagged");
    lagged["resync"] = json!({"enum": ["events", "snapshot"]});
    let mut names = Vec::new();
    for (kind, properties) in [("event", event), ("snapshot", snapshot), ("lagged", lagged)] {
        let name = format!("{stream}.{kind}");
        let schema = json!({
            "type": "object", "properties": properties, "required": ["type", "subscription", "cursor"],
        });
        parts.message(&name, schema);
        names.push(on_channel(&name));
    }
    parts.operations.insert(
        format!("{stream}.told"),
        json!({"action": "send", "channel": {"$ref": "#/channels/socket"}, "messages": names}),
    );
}
