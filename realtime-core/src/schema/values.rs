//! The JSON of fields.

use serde_json::{Value as Json, json};

use crate::field::Kind;
use crate::resource::FieldDescriptor;

/// What a field is shown as.
pub(super) fn shown(field: &FieldDescriptor) -> Json {
    let schema = match field.kind {
        Kind::Float => {
            json!({"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]})
        }
        // What other programs have stored need not be one of them, but then it is not shown at all.
        kind => of_kind(kind),
    };
    let mut schema = nullable(schema, field);
    if field.read_only {
        annotate(&mut schema, "readOnly", true.into());
    }
    described(schema, field)
}

/// What a payload may have in a field.
pub(super) fn written(field: &FieldDescriptor) -> Json {
    if field.read_only {
        // Whatever it is, it is ignored, so that what was read can be written back.
        return described(json!({"readOnly": true}), field);
    }
    let schema = match field.kind {
        Kind::Text => json!({"type": "string", "pattern": NO_NUL}),
        Kind::Decimal => json!({"type": "string", "pattern": r"^-?[0-9]{1,14}(\.[0-9]{1,14})?$"}),
        kind => of_kind(kind),
    };
    described(nullable(schema, field), field)
}

/// A text without U+0000, which is refused.
const NO_NUL: &str = r"^[^\u0000]*$";

/// A value of a kind.
pub(super) fn of_kind(kind: Kind) -> Json {
    match kind {
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Float => json!({"type": "number"}),
        Kind::Text => json!({"type": "string"}),
        Kind::Timestamp | Kind::NaiveTimestamp => json!({"type": "string", "format": "date-time"}),
        Kind::Date => json!({"type": "string", "format": "date"}),
        Kind::Time => {
            json!({"type": "string", "pattern": r"^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?$"})
        }
        Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
        Kind::Enum(names) => json!({"type": "string", "enum": names()}),
        Kind::Uuid => json!({"type": "string", "format": "uuid"}),
        Kind::Decimal => json!({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}),
        Kind::Json => json!({}),
    }
}

fn nullable(schema: Json, field: &FieldDescriptor) -> Json {
    if field.nullable && !field.kind.is_json() {
        json!({"anyOf": [schema, {"type": "null"}]})
    } else {
        schema
    }
}

fn described(mut schema: Json, field: &FieldDescriptor) -> Json {
    if !field.description.is_empty() {
        annotate(&mut schema, "description", field.description.into());
    }
    schema
}

fn annotate(schema: &mut Json, name: &str, value: Json) {
    if let Json::Object(members) = schema {
        members.insert(name.to_owned(), value);
    }
}
