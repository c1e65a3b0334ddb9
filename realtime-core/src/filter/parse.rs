//! From the entries of a client's filter to a [`Filter`]: one parser for JSON and for query strings.

use std::cmp::Ordering;

use serde_json::Value as Json;

use super::argument::{Operand, boolean, parse_operand};
use super::path::{self, Test};
use super::{Bound, Condition, Filter, PathCondition, Predicate, Regex, TextMatch};
use crate::error::{Code, Error, shown};
use crate::field::Kind;
use crate::fold::fold;
use crate::limits::Limits;
use crate::lookup::{Lookup, LookupSet};
use crate::message::url_decoded;
use crate::part::Part;
use crate::resource::{Alias, Descriptor};
use crate::value::Value;
use crate::view::View;

/// The value of one entry, in the form in which it came.
#[derive(Clone, Debug)]
pub enum RawArgument {
    /// From a payload.
    Json(Json),
    /// From a query string: every value that the key had, still percent-encoded: a comma that is encoded is one of the
    /// text.
    Query(Vec<String>),
}

/// Parses the entries of a filter; all of them must hold. A field that the view does not show is an unknown one.
///
/// # Errors
/// `unknown_field` and `unknown_lookup` for a key that the resource does not offer, with the choices;
/// `validation_error` for values, all of them at once, and for a filter over a limit.
pub fn parse<'a>(
    view: impl Into<View<'a>>,
    entries: impl IntoIterator<Item = (String, RawArgument)>,
    limits: &Limits,
) -> Result<Filter, Error> {
    let view = view.into();
    let descriptor = view.descriptor();
    let mut predicates = Vec::new();
    let mut refused: Option<Error> = None;
    let (mut entries_seen, mut regexes_seen) = (0, 0);
    for (key, argument) in entries {
        entries_seen += 1;
        if entries_seen > limits.filter_predicates {
            return Err(too_many_entries(limits));
        }
        let resolved = resolve(&view, &key)?;
        // Compiling one costs up to some milliseconds, and each keeps an automaton.
        regexes_seen += usize::from(matches!(resolved.lookup, Lookup::Regex | Lookup::IRegex));
        if regexes_seen > limits.filter_regexes {
            return Err(too_many_regexes(limits));
        }
        match condition(descriptor, &resolved, argument, limits) {
            Ok(condition) => {
                let Resolved { field, part, negated, .. } = resolved;
                let zone = part.and_then(|_| descriptor.zone_of(field));
                predicates.push(Predicate { field, part, zone, negated, condition });
            }
            Err(message) => {
                refused = Some(match refused {
                    Some(error) => error.and(key, message),
                    None => Error::validation(key, message),
                });
            }
        }
    }
    match refused {
        Some(error) => Err(error),
        None => Ok(Filter::new(descriptor, predicates)),
    }
}

pub(crate) fn too_many_entries(limits: &Limits) -> Error {
    too_many("entries", limits.filter_predicates, "filter_predicates")
}

pub(crate) fn too_many_regexes(limits: &Limits) -> Error {
    too_many("regular expressions", limits.filter_regexes, "filter_regexes")
}

fn too_many(what: &str, most: usize, limit: &str) -> Error {
    let message = format!("A filter has at most {most} {what} (limit {limit}).");
    Error::validation(crate::error::NON_FIELD_ERRORS, message)
}

struct Resolved {
    field: usize,
    part: Option<Part>,
    /// The keys and indexes that lead into JSON; empty for the field itself.
    path: Vec<String>,
    lookup: Lookup,
    negated: bool,
}

fn resolve(view: &View<'_>, key: &str) -> Result<Resolved, Error> {
    let descriptor = view.descriptor();
    let (negated, positive) = match key.strip_prefix("not__") {
        Some(rest) => (true, rest),
        None => (false, key),
    };
    if let Some(alias) = aliases(view).find(|alias| alias.name == positive) {
        return Ok(Resolved {
            field: alias.field,
            part: alias.part,
            path: alias.path.iter().map(|step| (*step).to_owned()).collect(),
            lookup: alias.lookup,
            negated,
        });
    }
    let is_declared =
        |name: &str| view.field_index(name).is_some_and(|field| !lookups(descriptor, field).is_empty());
    let (name, lookup_name) = parted(positive, is_declared).unwrap_or((positive, Lookup::Exact.name()));
    let field = match name {
        "pk" => Some(descriptor.key),
        name => view.field_index(name),
    };
    // A field without any lookup is answered like one that does not exist.
    let Some(field) = field.filter(|field| !lookups(descriptor, *field).is_empty()) else {
        return Err(Error::new(
            Code::UnknownField,
            format!("{} is not a filter of this stream.", shown(key)),
        )
        .and(key, format!("Choices are {}.", choices(view))));
    };
    let offered = lookups(descriptor, field);
    match resolve_lookup(offered, lookup_name) {
        Some((part, lookup)) => Ok(Resolved { field, part, path: Vec::new(), lookup, negated }),
        None => {
            if let Some((path, lookup)) = resolve_path(offered, lookup_name) {
                return Ok(Resolved { field, part: None, path, lookup, negated });
            }
            let names: Vec<&str> = offered.names().collect();
            Err(Error::new(
                Code::UnknownLookup,
                format!("{} is not a lookup of {name:?}.", shown(lookup_name)),
            )
            .and(key, format!("Lookups of {name:?} are {}.", names.join(", "))))
        }
    }
}

/// What stands before the first `__` of a key, and what stands behind it. A name that is known may end with an
/// underscore, which is then one of three.
pub(crate) fn parted(key: &str, is_known: impl Fn(&str) -> bool) -> Option<(&str, &str)> {
    let (name, rest) = key.split_once("__")?;
    let longer = &key[..=name.len()];
    match rest.strip_prefix('_') {
        Some(rest) if is_known(longer) => Some((longer, rest)),
        _ => Some((name, rest)),
    }
}

/// `gte`, `year` or `year__gte`.
fn resolve_lookup(offered: LookupSet, name: &str) -> Option<(Option<Part>, Lookup)> {
    if let Some(lookup) = Lookup::from_name(name).filter(|lookup| offered.contains(*lookup)) {
        return Some((None, lookup));
    }
    let (part, lookup) = name.split_once("__").unwrap_or((name, Lookup::Exact.name()));
    let part = Part::from_name(part).filter(|part| offered.contains_part(*part))?;
    let lookup = Lookup::from_name(lookup).filter(|lookup| Part::LOOKUPS.contains(*lookup))?;
    Some((Some(part), lookup))
}

/// `colour`, `0__colour` or `colour__icontains`. The last segment is a lookup if it is called as one.
fn resolve_path(offered: LookupSet, name: &str) -> Option<(Vec<String>, Lookup)> {
    if !offered.contains_paths() {
        return None;
    }
    let mut path: Vec<String> = name.split("__").map(str::to_owned).collect();
    let lookup = path.last().and_then(|last| Lookup::from_name(last));
    if lookup.is_some() {
        path.pop();
    }
    let leads_somewhere = !path.is_empty() && path.iter().all(|step| !step.is_empty());
    leads_somewhere.then(|| (path, lookup.unwrap_or(Lookup::Exact)))
}

fn lookups(descriptor: &Descriptor, field: usize) -> LookupSet {
    descriptor.fields[field].lookups
}

fn aliases<'a>(view: &View<'a>) -> impl Iterator<Item = &'a Alias> {
    view.descriptor().aliases.iter().filter(|alias| view.shows(alias.field))
}

fn choices(view: &View<'_>) -> String {
    let aliases = aliases(view).map(|alias| alias.name);
    let fields = view.fields().filter(|field| !field.lookups.is_empty()).map(|field| field.name);
    aliases.chain(fields).collect::<Vec<_>>().join(", ")
}

/// Builds the condition. The error is a sentence about the value.
fn condition(
    descriptor: &Descriptor,
    resolved: &Resolved,
    argument: RawArgument,
    limits: &Limits,
) -> Result<Condition, String> {
    if !resolved.path.is_empty() {
        return path_condition(resolved, argument, limits);
    }
    let kind = resolved.part.map_or(descriptor.fields[resolved.field].kind, Part::kind);
    if resolved.lookup.takes_list() {
        let items = list(kind, argument, limits)?;
        let operands =
            items.iter().map(|item| parse_operand(kind, item)).collect::<Result<Vec<Operand>, String>>()?;
        return if resolved.lookup == Lookup::In { Ok(one_of_operands(operands)) } else { range(operands) };
    }
    let json = single(argument)?;
    if resolved.lookup == Lookup::IsNull {
        return boolean(&json).map(Condition::IsNull);
    }
    if json.is_null() {
        return match resolved.lookup {
            Lookup::Exact => Ok(Condition::IsNull(true)),
            lookup => Err(format!("null is no argument of {}; use isnull.", lookup.name())),
        };
    }
    if let Some(how) = TextMatch::of(resolved.lookup) {
        return text(how, &json, limits);
    }
    if matches!(resolved.lookup, Lookup::Regex | Lookup::IRegex) {
        return regex(resolved.lookup == Lookup::IRegex, &json, limits);
    }
    let operand = parse_operand(kind, &json)?;
    Ok(match resolved.lookup {
        Lookup::Gt => bounds(Some((operand, false)), None),
        Lookup::Gte => bounds(Some((operand, true)), None),
        Lookup::Lt => bounds(None, Some((operand, false))),
        Lookup::Lte => bounds(None, Some((operand, true))),
        _ => one_of_operands(vec![operand]),
    })
}

/// A condition on what lies at a path. Nothing says what type that has, so the argument's own type counts.
fn path_condition(resolved: &Resolved, argument: RawArgument, limits: &Limits) -> Result<Condition, String> {
    let limit = limits.filter_pattern_bytes;
    if resolved.path.iter().map(String::len).sum::<usize>() > limit {
        return Err(format!("A key path has at most {limit} bytes (limit filter_pattern_bytes)."));
    }
    let test = match resolved.lookup {
        Lookup::In => scalars(list_of_scalars(argument, limits)?)?,
        Lookup::Range => {
            let [lower, upper] = <[Json; 2]>::try_from(list_of_scalars(argument, limits)?)
                .map_err(|_| "Expected two values.".to_owned())?;
            Test::Between { lower: Some((number(lower)?, true)), upper: Some((number(upper)?, true)) }
        }
        Lookup::Exact => scalars(vec![single_scalar(argument)?])?,
        Lookup::Gt => Test::Between { lower: Some((number(single_scalar(argument)?)?, false)), upper: None },
        Lookup::Gte => Test::Between { lower: Some((number(single_scalar(argument)?)?, true)), upper: None },
        Lookup::Lt => Test::Between { lower: None, upper: Some((number(single_scalar(argument)?)?, false)) },
        Lookup::Lte => Test::Between { lower: None, upper: Some((number(single_scalar(argument)?)?, true)) },
        Lookup::IsNull => Test::IsMissing(boolean(&single(argument)?)?),
        Lookup::Regex | Lookup::IRegex => {
            match regex(resolved.lookup == Lookup::IRegex, &single(argument)?, limits)? {
                Condition::Regex(regex) => Test::Regex(regex),
                _ => Test::OneOf(Vec::new()),
            }
        }
        Lookup::IExact
        | Lookup::Contains
        | Lookup::IContains
        | Lookup::StartsWith
        | Lookup::IStartsWith
        | Lookup::EndsWith
        | Lookup::IEndsWith => {
            let how = TextMatch::of(resolved.lookup).unwrap_or(TextMatch::Contains);
            match text(how, &single(argument)?, limits)? {
                Condition::Text(how, pattern) => Test::Text(how, pattern),
                _ => Test::OneOf(Vec::new()),
            }
        }
    };
    Ok(Condition::Path(PathCondition::new(resolved.path.clone(), test)))
}

/// What stands in a query string is JSON if it can be read as a scalar, else it is text: `5`, `"5"`, `red`.
fn scalar_of_text(text: String) -> Json {
    match serde_json::from_str(&text) {
        Ok(Json::Array(_) | Json::Object(_)) | Err(_) => Json::String(text),
        Ok(scalar) => scalar,
    }
}

fn single_scalar(argument: RawArgument) -> Result<Json, String> {
    let is_text = matches!(argument, RawArgument::Query(_));
    match single(argument)? {
        Json::String(text) if is_text => Ok(scalar_of_text(text)),
        json => Ok(json),
    }
}

fn list_of_scalars(argument: RawArgument, limits: &Limits) -> Result<Vec<Json>, String> {
    let is_text = matches!(argument, RawArgument::Query(_));
    let items = list(Kind::Text, argument, limits)?;
    if !is_text {
        return Ok(items);
    }
    let read = |item| if let Json::String(text) = item { scalar_of_text(text) } else { item };
    let items: Vec<Json> = items.into_iter().map(read).collect();
    if items.iter().any(Json::is_null) { Err(NULL_IN_LIST.into()) } else { Ok(items) }
}

fn scalars(values: Vec<Json>) -> Result<Test, String> {
    let mut kept = Vec::new();
    for value in values {
        match value {
            Json::Array(_) | Json::Object(_) => {
                return Err("A string, a number, a boolean or null is required.".into());
            }
            Json::String(text) if text.contains('\0') => {}
            Json::Number(number) => kept.push(Json::Number(path::normal(number))),
            value => kept.push(value),
        }
    }
    kept.sort_by(path::compare_scalars);
    kept.dedup_by(|left, right| path::compare_scalars(left, right) == Ordering::Equal);
    Ok(Test::OneOf(kept))
}

fn number(json: Json) -> Result<serde_json::Number, String> {
    match json {
        Json::Number(number) => Ok(path::normal(number)),
        _ => Err("A valid number is required.".into()),
    }
}

const NULL_IN_LIST: &str = "null is no value of a list; use isnull.";

fn single(argument: RawArgument) -> Result<Json, String> {
    match argument {
        RawArgument::Json(json) => Ok(json),
        RawArgument::Query(values) if values.len() == 1 => Ok(Json::String(decoded(&values[0])?)),
        RawArgument::Query(_) => Err("May be given once only.".into()),
    }
}

fn decoded(value: &str) -> Result<String, String> {
    url_decoded(value).ok_or_else(|| "Not URL-encoded text.".into())
}

fn list(kind: Kind, argument: RawArgument, limits: &Limits) -> Result<Vec<Json>, String> {
    let items: Vec<Json> = match argument {
        RawArgument::Json(Json::Array(items)) => items,
        RawArgument::Json(_) => return Err("Expected a list of values.".into()),
        RawArgument::Query(values) => {
            let mut items = Vec::new();
            for value in values.iter().filter(|value| !value.is_empty()) {
                // Only the text of a text can hold a comma, and a name if somebody gave it one: everywhere else an
                // encoded one splits too.
                let holds_commas = match kind {
                    Kind::Text => true,
                    Kind::Enum(names) => names().iter().any(|name| name.contains(',')),
                    _ => false,
                };
                if holds_commas {
                    for item in value.split(',') {
                        items.push(Json::String(decoded(item)?));
                    }
                } else {
                    items.extend(decoded(value)?.split(',').map(|item| Json::String(item.to_owned())));
                }
            }
            items
        }
    };
    if items.len() > limits.filter_list {
        return Err(format!("A list has at most {} values (limit filter_list).", limits.filter_list));
    }
    if items.iter().any(Json::is_null) {
        return Err(NULL_IN_LIST.into());
    }
    Ok(items)
}

/// U+0000 in a filter value selects nothing, on every database.
fn is_storable(value: &Value<'_>) -> bool {
    !matches!(value, Value::Text(text) if text.contains('\0'))
}

fn one_of_operands(operands: Vec<Operand>) -> Condition {
    // What lies beyond the column is the value of no row.
    let within = operands.into_iter().filter_map(|operand| match operand {
        Operand::Value(value) => Some(value),
        Operand::Below | Operand::Above => None,
    });
    one_of(within.collect())
}

/// One of the values, none of which is `NULL`.
pub(crate) fn one_of(values: Vec<Value<'static>>) -> Condition {
    let mut values: Vec<Value<'static>> = values.into_iter().filter(is_storable).map(normal).collect();
    values.sort_by(|left, right| left.compare(right).unwrap_or(Ordering::Equal));
    values.dedup_by(|left, right| left.compare(right) == Some(Ordering::Equal));
    Condition::OneOf(values)
}

/// `-0.0` is `0.0` in every comparison, and `12.50` is `12.5`; one spelling keeps equal filters one group.
fn normal(value: Value<'static>) -> Value<'static> {
    match value {
        // Adding zero turns the negative one and nothing else.
        Value::Float(number) => Value::Float(number + 0.0),
        Value::Decimal(number) => Value::Decimal(number.normalize()),
        value => value,
    }
}

/// Within bounds of the field's type. One that is `NULL` is satisfied by nothing.
pub(crate) fn between(lower: Bound, upper: Bound) -> Condition {
    let operand = |(value, included): (Value<'static>, bool)| (Operand::Value(value), included);
    let has_null = [&lower, &upper].into_iter().flatten().any(|(value, _)| value.is_null());
    if has_null { Condition::OneOf(Vec::new()) } else { bounds(lower.map(operand), upper.map(operand)) }
}

/// A [`Bound`] as it was asked for, which may lie beyond what the column holds.
type AskedBound = Option<(Operand, bool)>;

fn range(operands: Vec<Operand>) -> Result<Condition, String> {
    let [lower, upper] = <[Operand; 2]>::try_from(operands).map_err(|_| "Expected two values.".to_owned())?;
    Ok(bounds(Some((lower, true)), Some((upper, true))))
}

fn bounds(lower: AskedBound, upper: AskedBound) -> Condition {
    enum Side {
        Open,
        At((Value<'static>, bool)),
        Nothing,
    }
    let side = |bound: AskedBound, is_lower: bool| match bound {
        None => Side::Open,
        Some((Operand::Value(value), _)) if !is_storable(&value) => Side::Nothing,
        Some((Operand::Value(value), included)) => Side::At((normal(value), included)),
        // A bound that lies beyond the column: every row is on one side of it.
        Some((Operand::Below, _)) if is_lower => Side::Open,
        Some((Operand::Above, _)) if !is_lower => Side::Open,
        Some(_) => Side::Nothing,
    };
    match (side(lower, true), side(upper, false)) {
        (Side::Nothing, _) | (_, Side::Nothing) => Condition::OneOf(Vec::new()),
        (Side::Open, Side::Open) => Condition::IsNull(false),
        (Side::At(lower), Side::Open) => Condition::Between { lower: Some(lower), upper: None },
        (Side::Open, Side::At(upper)) => Condition::Between { lower: None, upper: Some(upper) },
        (Side::At(lower), Side::At(upper)) => Condition::Between { lower: Some(lower), upper: Some(upper) },
    }
}

fn pattern<'a>(json: &'a Json, limits: &Limits) -> Result<&'a str, String> {
    let Json::String(pattern) = json else { return Err("Not a valid string.".into()) };
    let limit = limits.filter_pattern_bytes;
    if pattern.len() > limit {
        return Err(format!("A pattern has at most {limit} bytes (limit filter_pattern_bytes)."));
    }
    Ok(pattern)
}

fn regex(ignores_case: bool, json: &Json, limits: &Limits) -> Result<Condition, String> {
    let pattern = pattern(json, limits)?;
    if pattern.contains('\0') {
        return Ok(Condition::OneOf(Vec::new()));
    }
    Regex::new(pattern, ignores_case, limits.filter_regex_bytes, limits.filter_regex_nesting)
        .map(Condition::Regex)
}

fn text(how: TextMatch, json: &Json, limits: &Limits) -> Result<Condition, String> {
    let pattern = pattern(json, limits)?;
    if pattern.contains('\0') {
        return Ok(Condition::OneOf(Vec::new()));
    }
    Ok(Condition::Text(how, if how.folds() { fold(pattern) } else { pattern.to_owned() }))
}
