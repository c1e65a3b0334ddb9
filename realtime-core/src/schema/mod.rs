//! Machine-readable descriptions of what the resources offer: OpenAPI of the REST side, AsyncAPI of the socket side.
//!
//! They are made from the same descriptors that requests are carried out by, as somebody sees them: what does not exist
//! for him is in none of them.

mod asyncapi;
mod filters;
mod openapi;
mod pattern;
mod values;

pub use asyncapi::asyncapi;
pub use openapi::openapi;

use serde_json::{Map, Value as Json, json};

use crate::arguments::Sort;
use crate::custom::CustomAction;
use crate::error::Code;
use crate::limits::Limits;
use crate::lookup::LookupSet;
use crate::resource::{Action, FieldDescriptor};
use crate::view::View;

/// What a description is about.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// The resources, as far as there are any for whoever asks.
    pub views: Vec<View<'a>>,
    /// The path of the scope, `/api`.
    pub base: String,
    /// What the API is called.
    pub title: String,
    /// The version of the API.
    pub version: String,
    /// The limits that requests are held to.
    pub limits: Limits,
    /// What the database does not decide, see [`Dialect::UNDECIDED`](crate::sql::Dialect::UNDECIDED): a list's filter
    /// cannot have it across a relation.
    pub undecided: LookupSet,
}

impl Subject<'_> {
    fn info(&self) -> Json {
        json!({"title": self.title, "version": self.version})
    }
}

fn reference(name: &str) -> Json {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// The schemas of a resource: its objects, the rows of its lists, and the payloads of its writes.
fn of_resource(view: &View<'_>, schemas: &mut Map<String, Json>) {
    let descriptor = view.descriptor();
    let stream = descriptor.stream;
    let shown = || view.shown().map(|field| &descriptor.fields[field]);
    let names: Vec<&str> = shown().map(|field| field.name).collect();
    let shown: Map<String, Json> =
        shown().map(|field| (field.name.to_owned(), values::shown(field))).collect();
    let mut object = json!({
        "type": "object", "properties": shown, "required": names, "additionalProperties": false,
    });
    if !descriptor.description.is_empty() {
        object["description"] = descriptor.description.into();
    }
    schemas.insert(stream.to_owned(), object);

    schemas.insert(
        format!("{stream}.part"),
        json!({
            "type": "object", "properties": shown, "additionalProperties": false,
            "description": "Some fields of an object: those that have changed, or that were asked for.",
        }),
    );

    let mut row = shown;
    for relation in descriptor.lists.relations.iter().filter(|relation| view.shows(relation.field)) {
        let description = format!("With `expand={}`: the row that the key leads to.", relation.name);
        // That of another resource may not exist for the caller; what is shown of it is described there.
        row.insert(relation.name.to_owned(), json!({"type": ["object", "null"], "description": description}));
    }
    let key = descriptor.key_field().name;
    schemas.insert(
        format!("{stream}.row"),
        json!({
            "type": "object", "properties": row, "required": [key], "additionalProperties": false,
            "description": "An object, or with `fields` a part of one.",
        }),
    );

    let payload = |of: fn(&FieldDescriptor) -> Json| {
        let writable: Map<String, Json> =
            view.fields().map(|field| (field.name.to_owned(), of(field))).collect();
        json!({"type": "object", "properties": writable, "additionalProperties": false})
    };
    let required: Vec<&str> = view.fields().filter(|field| field.required).map(|field| field.name).collect();
    if [Action::Create, Action::Replace].iter().any(|action| descriptor.actions.contains(*action)) {
        let mut whole = payload(values::written);
        if !required.is_empty() {
            whole["required"] = required.into();
        }
        schemas.insert(format!("{stream}.payload"), whole);
    }
    if descriptor.actions.contains(Action::Update) {
        schemas.insert(format!("{stream}.changes"), payload(values::changed));
    }
}

/// The members of an event, as all that are told of it have them.
fn event(view: &View<'_>) -> Json {
    let descriptor = view.descriptor();
    let part = reference(&format!("{}.part", descriptor.stream));
    json!({
        "type": {"const": "event"},
        "stream": {"const": descriptor.stream},
        "action": {"enum": ["create", "update", "delete"]},
        "pk": values::of_kind(descriptor.key_field().kind),
        "data": part,
        "diff": part,
        "more": {"const": true},
        "cursor": {"type": "string"},
    })
}

/// The arguments of an action of the application's as a schema, and whether there must be any.
fn arguments(custom: &CustomAction) -> (Json, bool) {
    let Some(arguments) = (custom.arguments)() else { return (json!({"type": "object"}), false) };
    let properties: Map<String, Json> = arguments
        .iter()
        .map(|argument| {
            let schema = sort(&argument.sort);
            let nullable = argument.nullable && argument.sort != Sort::Any;
            let schema = if nullable { json!({"anyOf": [schema, {"type": "null"}]}) } else { schema };
            (argument.name.to_owned(), schema)
        })
        .collect();
    let required: Vec<&str> =
        arguments.iter().filter(|argument| argument.required).map(|argument| argument.name).collect();
    let needed = !required.is_empty();
    let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if needed {
        schema["required"] = required.into();
    }
    (schema, needed)
}

fn sort(sort: &Sort) -> Json {
    match sort {
        Sort::Bool => json!({"type": "boolean"}),
        Sort::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Sort::Number => json!({"type": "number"}),
        Sort::Text => json!({"type": "string"}),
        Sort::Choice(choices) => json!({"type": "string", "enum": choices}),
        Sort::List(item) => json!({"type": "array", "items": self::sort(item)}),
        Sort::Object => json!({"type": "object"}),
        Sort::Any => json!({}),
    }
}

/// The members that problem documents and the errors of replies have in common.
fn error_members(codes: &[Code]) -> Map<String, Json> {
    let codes: Vec<&str> = codes.iter().map(|code| code.name()).collect();
    let members = json!({
        "code": {"type": "string", "enum": codes, "description": "What programs look at."},
        "detail": {"type": "string", "description": "A sentence for people."},
        "errors": {
            "type": "object",
            "description": "Messages by key: of a payload's field, a filter's entry or an option; \
                            `non_field_errors` for the whole.",
            "additionalProperties": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        },
        "retry_after": {"type": "number", "minimum": 0, "description": "Seconds after which to try again."},
    });
    match members {
        Json::Object(members) => members,
        _ => Map::new(),
    }
}
