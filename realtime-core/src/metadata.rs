//! What a client can learn of a resource before it uses it: names, descriptions, the fields of a payload.

use serde_json::{Map, Value as Json, json};

use crate::arguments::{Argument, Sort};
use crate::check::Check;
use crate::custom::CustomAction;
use crate::field::Kind;
use crate::resource::FieldDescriptor;
use crate::view::View;

/// The description of a resource. `forms` are the HTTP methods whose payload the caller may send.
pub fn metadata(view: &View<'_>, forms: &[&str]) -> Map<String, Json> {
    let descriptor = view.descriptor();
    let mut members = described(descriptor.stream, descriptor.description);
    if !forms.is_empty() {
        let fields: Map<String, Json> =
            view.fields().map(|known| (known.name.to_owned(), field(known))).collect();
        let actions: Map<String, Json> =
            forms.iter().map(|method| ((*method).to_owned(), fields.clone().into())).collect();
        members.insert("actions".into(), actions.into());
    }
    members
}

/// The description of an action of the application's; with what it takes, where the caller may do it.
pub fn of_custom(custom: &CustomAction, form: bool) -> Map<String, Json> {
    let mut members = described(custom.name, custom.description);
    if form {
        let arguments = (custom.arguments)().unwrap_or_default();
        let arguments: Map<String, Json> =
            arguments.iter().map(|known| (known.name.to_owned(), argument(known))).collect();
        members.insert("actions".into(), json!({"POST": arguments}));
    }
    members
}

fn argument(argument: &Argument) -> Json {
    let kind = match argument.sort {
        Sort::Bool => "boolean",
        Sort::Integer { .. } => "integer",
        Sort::Number => "float",
        Sort::Text => "string",
        Sort::Choice(_) => "choice",
        Sort::List(_) => "list",
        Sort::Object | Sort::Any => "json",
    };
    let mut members = json!({
        "type": kind,
        "required": argument.required,
        "read_only": false,
        "nullable": argument.nullable,
        "label": label(argument.name),
    });
    match &argument.sort {
        Sort::Integer { min, max } => {
            members["min_value"] = (*min).into();
            members["max_value"] = (*max).into();
        }
        Sort::Choice(names) => members["choices"] = choices(names),
        _ => {}
    }
    members
}

fn choices(names: &[&str]) -> Json {
    names.iter().map(|name| json!({"value": name, "display_name": label(name)})).collect()
}

/// A name, a description, and the media types that everything here has.
pub fn described(name: &str, description: &str) -> Map<String, Json> {
    Map::from_iter([
        ("name".to_owned(), name.into()),
        ("description".to_owned(), description.into()),
        ("renders".to_owned(), json!(["application/json"])),
        ("parses".to_owned(), json!(["application/json"])),
    ])
}

fn field(field: &FieldDescriptor) -> Json {
    let mut members = Map::new();
    let mut put = |name: &str, value: Json| {
        members.insert(name.to_owned(), value);
    };
    put("type", kind(field).into());
    put("required", field.required.into());
    put("read_only", field.read_only.into());
    if field.write_only {
        put("write_only", true.into());
    }
    put("nullable", field.nullable.into());
    put("label", label(field.name).into());
    if !field.description.is_empty() {
        put("help_text", field.description.into());
    }
    match field.kind {
        Kind::Integer { min, max } => {
            put("min_value", min.into());
            put("max_value", max.into());
        }
        Kind::Enum(names) => {
            put("choices", choices(names()));
        }
        _ => {}
    }
    for (name, stated) in [("default", field.default), ("example", field.example)] {
        if let Some(stated) = stated {
            put(name, stated().to_json());
        }
    }
    for check in field.checks {
        match check {
            Check::Length { min, max } => {
                for (name, bound) in [("min_length", min), ("max_length", max)] {
                    if let Some(bound) = bound {
                        put(name, (*bound).into());
                    }
                }
            }
            Check::Range { min, max } => {
                for (name, bound) in [("min_value", min), ("max_value", max)] {
                    if let Some(bound) = bound {
                        put(name, bound.value(field.kind).to_json());
                    }
                }
            }
            Check::Digits { digits, places } => {
                for (name, digits) in [("max_digits", digits), ("decimal_places", places)] {
                    if let Some(digits) = digits {
                        put(name, (*digits).into());
                    }
                }
            }
            Check::Pattern(pattern) => put("pattern", pattern().source().into()),
            // They are types.
            Check::Email | Check::Url | Check::Custom(_) => {}
        }
    }
    members.into()
}

/// What sort of value the field takes: its type, or what is asked of a text.
fn kind(field: &FieldDescriptor) -> &'static str {
    let of_text = field.checks.iter().find_map(|check| match check {
        Check::Email => Some("email"),
        Check::Url => Some("url"),
        Check::Pattern(_) => Some("regex"),
        _ => None,
    });
    of_text.unwrap_or_else(|| field.kind.name())
}

/// A name for people: `topic_id` is "Topic id".
fn label(name: &str) -> String {
    let spaced = name.replace(['_', '-'], " ");
    let mut letters = spaced.trim().chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Literal, Pattern};
    use crate::lookup::LookupSet;
    use crate::value::Value;

    static LETTERS: Pattern = Pattern::new("^[a-z]+$");

    #[test]
    fn what_is_asked_of_a_value_has_the_names_of_django_rest_framework() {
        let plain = |kind, checks| FieldDescriptor {
            name: "some_field",
            column: "field",
            kind,
            nullable: false,
            read_only: false,
            write_only: false,
            required: true,
            default: None,
            example: None,
            checks,
            message: None,
            computed: None,
            lookups: LookupSet::NONE,
            orderable: false,
            description: "",
        };
        let said = |described: &FieldDescriptor, expected: Json| {
            let mut whole =
                json!({"required": true, "read_only": false, "nullable": false, "label": "Some field"});
            for (name, value) in expected.as_object().expect("members") {
                whole[name] = value.clone();
            }
            assert_eq!(field(described), whole);
        };
        let length = &[Check::Length { min: Some(1), max: Some(200) }];
        said(&plain(Kind::Text, length), json!({"type": "string", "min_length": 1, "max_length": 200}));
        said(
            &plain(Kind::Text, &[Check::Pattern(|| &LETTERS)]),
            json!({"type": "regex", "pattern": "^[a-z]+$"}),
        );
        said(&plain(Kind::Text, &[Check::Email]), json!({"type": "email"}));
        said(&plain(Kind::Text, &[Check::Url]), json!({"type": "url"}));
        let stars = &[Check::Range { min: Some(Literal::Integer(0)), max: Some(Literal::Integer(5)) }];
        said(
            &plain(Kind::Integer { min: -128, max: 127 }, stars),
            json!({"type": "integer", "min_value": 0, "max_value": 5}),
        );
        let digits = &[Check::Digits { digits: Some(12), places: Some(2) }];
        said(
            &plain(Kind::Decimal, digits),
            json!({"type": "decimal", "max_digits": 12, "decimal_places": 2}),
        );
        let secret = FieldDescriptor {
            required: false,
            nullable: true,
            write_only: true,
            default: Some(|| Value::Bool(true)),
            example: Some(|| Value::Bool(false)),
            description: "Whether.",
            ..plain(Kind::Bool, &[])
        };
        said(
            &secret,
            json!({
                "type": "boolean", "required": false, "nullable": true, "write_only": true, "default": true,
                "example": false, "help_text": "Whether.",
            }),
        );
        let status = plain(Kind::Enum(|| &["draft"]), &[]);
        said(&status, json!({"type": "choice", "choices": [{"value": "draft", "display_name": "Draft"}]}));
    }

    #[test]
    fn a_label_is_the_name_for_people() {
        for (name, expected) in
            [("topic_id", "Topic id"), ("body", "Body"), ("_x", "X"), ("", ""), ("éa", "Éa")]
        {
            assert_eq!(label(name), expected);
        }
    }
}
