//! The JSON of fields.

use serde_json::{Map, Value as Json, json};

use super::pattern;
use crate::check::{Check, Literal};
use crate::field::Kind;
use crate::resource::FieldDescriptor;

/// What a field is shown as. What is asked of written values need not hold of it: other programs write too.
pub(super) fn shown(field: &FieldDescriptor) -> Json {
    let (kind, is_nullable) = match field.computed {
        Some(computed) => (computed.kind, computed.nullable),
        None => (field.kind, field.nullable),
    };
    let schema = match kind {
        Kind::Float => {
            json!({"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]})
        }
        // What other programs have stored need not be one of them, but then it is not shown at all.
        kind => of_kind(kind),
    };
    let mut schema = nullable(schema, kind, is_nullable);
    if field.read_only {
        annotate(&mut schema, "readOnly", true.into());
    }
    annotate_with(&mut schema, "description", field.description);
    if field.computed.is_none() {
        state_example(&mut schema, field);
    }
    schema
}

/// What the payload of a create or a replace may have in a field.
pub(super) fn written(field: &FieldDescriptor) -> Json {
    let mut schema = changed(field);
    if let (Some(default), false) = (field.default, field.read_only) {
        annotate(&mut schema, "default", default().to_json());
    }
    schema
}

/// What the payload of an update may have in a field; one that is not named stays as it is.
pub(super) fn changed(field: &FieldDescriptor) -> Json {
    let mut remarks: Vec<String> = Vec::new();
    if !field.description.is_empty() {
        remarks.push(field.description.to_owned());
    }
    // Whatever a client sends for a field that he cannot set, it is ignored, so that what was read can be written back.
    let mut schema = if field.read_only { json!({"readOnly": true}) } else { accepted(field, &mut remarks) };
    annotate_with(&mut schema, "description", &remarks.join(" "));
    if field.write_only {
        annotate(&mut schema, "writeOnly", true.into());
    }
    if !field.read_only {
        state_example(&mut schema, field);
    }
    schema
}

fn state_example(schema: &mut Json, field: &FieldDescriptor) {
    if let Some(example) = field.example {
        annotate(schema, "examples", json!([example().to_json()]));
    }
}

/// The type of a field with what is asked of its values. What JSON Schema has no word for becomes a remark.
fn accepted(field: &FieldDescriptor, remarks: &mut Vec<String>) -> Json {
    let mut schema = match of_kind(field.kind) {
        Json::Object(members) => members,
        _ => Map::new(),
    };
    if matches!(field.kind, Kind::Decimal) {
        schema.insert("pattern".to_owned(), decimal(14, 14).into());
    }
    let mut texts = Texts::default();
    for check in field.checks {
        match check {
            Check::Length { min, max } => {
                for (bound, end) in [(min, "min"), (max, "max")] {
                    let Some(bound) = bound else { continue };
                    let (names, bound): (&[&str], usize) = match field.kind {
                        // Three bytes are four letters of base64.
                        Kind::Bytes => (&["Length"], bound.div_ceil(3).saturating_mul(4)),
                        Kind::Json => (&["Items", "Properties"], *bound),
                        _ => (&["Length"], *bound),
                    };
                    for name in names {
                        schema.insert(format!("{end}{name}"), bound.into());
                    }
                }
            }
            Check::Range { min, max } => {
                for (bound, name, word) in [(min, "minimum", "At least"), (max, "maximum", "At most")] {
                    match bound {
                        Some(bound @ (Literal::Integer(_) | Literal::Float(_))) if !is_text(field.kind) => {
                            schema.insert(name.to_owned(), bound.value(field.kind).to_json());
                        }
                        Some(bound) => {
                            remarks.push(format!("{word} {}.", plain(bound.value(field.kind).to_json())));
                        }
                        None => {}
                    }
                }
            }
            Check::Pattern(pattern) => match pattern::portable(pattern().source()) {
                Some(portable) => texts.add(portable),
                None => {
                    remarks.push(format!(
                        "Matches the regular expression `{}` of Rust's crate `regex`.",
                        pattern().source()
                    ));
                }
            },
            Check::Email => {
                texts.has_format = true;
                schema.insert("format".to_owned(), "email".into());
            }
            Check::Url => {
                texts.has_format = true;
                schema.insert("format".to_owned(), "uri".into());
                remarks.push("With `http`, `https`, `ftp` or `ftps`.".to_owned());
            }
            Check::Digits { digits, places } => match (digits, places) {
                (Some(digits), Some(places)) => {
                    schema.insert(
                        "pattern".to_owned(),
                        decimal(digits.saturating_sub(*places), *places).into(),
                    );
                }
                (Some(digits), None) => {
                    schema.insert("pattern".to_owned(), decimal(*digits, *digits).into());
                    remarks.push(format!("At most {digits} digits in total."));
                }
                (None, places) => {
                    schema.insert("pattern".to_owned(), decimal(14, places.unwrap_or(14)).into());
                }
            },
            Check::Custom(_) => {}
        }
    }
    if matches!(field.kind, Kind::Text) {
        texts.put_into(&mut schema);
    }
    nullable(schema.into(), field.kind, field.nullable)
}

/// The patterns of a text.
#[derive(Default)]
struct Texts {
    patterns: Vec<String>,
    /// Says one of them, or the format, that there is no U+0000?
    refuse_nul: bool,
    has_format: bool,
}

impl Texts {
    fn add(&mut self, pattern: pattern::Portable) {
        self.refuse_nul |= !pattern.admits_nul;
        self.patterns.push(pattern.source);
    }

    fn put_into(mut self, schema: &mut Map<String, Json>) {
        if !self.refuse_nul && !self.has_format {
            self.patterns.push(NO_NUL.to_owned());
        }
        if self.patterns.len() > 1 {
            let all: Vec<Json> =
                self.patterns.into_iter().map(|pattern| json!({"pattern": pattern})).collect();
            schema.insert("allOf".to_owned(), all.into());
        } else if let Some(pattern) = self.patterns.pop() {
            schema.insert("pattern".to_owned(), pattern.into());
        }
    }
}

/// A text without U+0000, which is refused.
const NO_NUL: &str = r"^[^\u0000]*$";

/// Decimals with as many digits before and behind the point at most.
fn decimal(whole: u32, places: u32) -> String {
    let whole = if whole == 0 { "0".to_owned() } else { format!("[0-9]{{1,{whole}}}") };
    let fraction = if places == 0 { String::new() } else { format!(r"(\.[0-9]{{1,{places}}})?") };
    format!("^-?{whole}{fraction}$")
}

/// Is a value of the kind, which has an order, a text on the wire?
fn is_text(kind: Kind) -> bool {
    !matches!(kind, Kind::Integer { .. } | Kind::Float)
}

fn plain(json: Json) -> String {
    match json {
        Json::String(text) => text,
        other => other.to_string(),
    }
}

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

fn nullable(schema: Json, kind: Kind, is_nullable: bool) -> Json {
    if is_nullable && !kind.is_json() { json!({"anyOf": [schema, {"type": "null"}]}) } else { schema }
}

fn annotate_with(schema: &mut Json, name: &str, text: &str) {
    if !text.is_empty() {
        annotate(schema, name, text.into());
    }
}

fn annotate(schema: &mut Json, name: &str, value: Json) {
    if let Json::Object(members) = schema {
        members.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Pattern;
    use crate::lookup::LookupSet;
    use crate::resource::Computed;
    use crate::value::Value;

    const fn field(kind: Kind, checks: &'static [Check]) -> FieldDescriptor {
        FieldDescriptor {
            name: "field",
            column: "field",
            kind,
            nullable: false,
            read_only: false,
            write_only: false,
            required: false,
            default: None,
            example: None,
            checks,
            message: None,
            computed: None,
            lookups: LookupSet::NONE,
            orderable: false,
            description: "",
        }
    }

    const SMALL: Kind = Kind::Integer { min: -128, max: 127 };
    static LETTERS: Pattern = Pattern::new("^[a-z]+$");
    static WORD: Pattern = Pattern::new(r"\w");

    #[test]
    fn what_is_asked_of_a_value_is_in_its_schema() {
        for (kind, checks, expected) in [
            (
                Kind::Text,
                &[Check::Length { min: Some(1), max: Some(200) }] as &'static [Check],
                json!({"type": "string", "minLength": 1, "maxLength": 200, "pattern": NO_NUL}),
            ),
            (
                Kind::Text,
                &[Check::Length { min: None, max: Some(9) }, Check::Pattern(|| &LETTERS)],
                json!({"type": "string", "maxLength": 9, "pattern": "^[a-z]+$"}),
            ),
            (
                Kind::Text,
                &[Check::Pattern(|| &WORD)],
                json!({
                    "type": "string", "pattern": NO_NUL,
                    "description": r"Matches the regular expression `\w` of Rust's crate `regex`.",
                }),
            ),
            (Kind::Text, &[Check::Email], json!({"type": "string", "format": "email"})),
            (
                Kind::Text,
                &[Check::Url],
                json!({
                    "type": "string", "format": "uri", "description": "With `http`, `https`, `ftp` or `ftps`.",
                }),
            ),
            (
                SMALL,
                &[Check::Range { min: Some(Literal::Integer(0)), max: None }],
                json!({"type": "integer", "minimum": 0, "maximum": 127}),
            ),
            (
                Kind::Float,
                &[Check::Range { min: Some(Literal::Integer(0)), max: Some(Literal::Float(0.5)) }],
                json!({"type": "number", "minimum": 0.0, "maximum": 0.5}),
            ),
            (
                Kind::Date,
                &[Check::Range { min: Some(Literal::Date("2026-01-31")), max: None }],
                json!({"type": "string", "format": "date", "description": "At least 2026-01-31."}),
            ),
            (
                Kind::Decimal,
                &[
                    Check::Digits { digits: Some(12), places: Some(2) },
                    Check::Range { min: None, max: Some(Literal::Integer(5)) },
                ],
                json!({
                    "type": "string", "pattern": r"^-?[0-9]{1,10}(\.[0-9]{1,2})?$",
                    "description": "At most 5.",
                }),
            ),
            (
                Kind::Bytes,
                &[Check::Length { min: Some(1), max: Some(4) }],
                json!({"type": "string", "contentEncoding": "base64", "minLength": 4, "maxLength": 8}),
            ),
            (
                Kind::Json,
                &[Check::Length { min: None, max: Some(3) }],
                json!({"maxItems": 3, "maxProperties": 3}),
            ),
        ] {
            assert_eq!(written(&field(kind, checks)), expected);
        }
    }

    #[test]
    fn attributes_are_annotations() {
        let stated = FieldDescriptor {
            nullable: true,
            write_only: true,
            default: Some(|| Value::Int(1)),
            example: Some(|| Value::Int(2)),
            description: "How many.",
            ..field(SMALL, &[])
        };
        assert_eq!(
            written(&stated),
            json!({
                "anyOf": [{"type": "integer", "minimum": -128, "maximum": 127}, {"type": "null"}],
                "writeOnly": true, "default": 1, "examples": [2], "description": "How many.",
            })
        );
        assert_eq!(changed(&stated)["default"], Json::Null);
        let set_by_server = FieldDescriptor { read_only: true, ..field(SMALL, &[]) };
        assert_eq!(written(&set_by_server), json!({"readOnly": true}));
        assert_eq!(
            shown(&set_by_server),
            json!({"type": "integer", "minimum": -128, "maximum": 127, "readOnly": true})
        );
    }

    /// What is asked of a value is not said of what is shown: other programs write too, and `serialize_with` shows
    /// another type.
    #[test]
    fn what_is_shown_has_the_type_that_is_shown() {
        let length = field(Kind::Text, &[Check::Length { min: Some(1), max: None }]);
        assert_eq!(shown(&length), json!({"type": "string"}));
        let masked = FieldDescriptor {
            computed: Some(Computed { kind: Kind::Bool, nullable: true }),
            ..field(SMALL, &[])
        };
        assert_eq!(shown(&masked), json!({"anyOf": [{"type": "boolean"}, {"type": "null"}]}));
    }
}
