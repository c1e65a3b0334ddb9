//! The rules that concern more than one option, or the value of one. Each function states and applies one rule.

use std::collections::HashMap;

use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Fields, Type};

use crate::ast::{Alias, Field, Model, Relation};
use crate::attr;
use crate::errors::{Errors, listed};
use crate::vocabulary::{KEY, NEGATION, RESERVED, RESERVED_STREAMS, SEPARATOR};

/// Applies every rule about resources.
pub(crate) fn resource(model: &Model<'_>, errors: &mut Errors) {
    stream_is_a_path_segment(model, errors);
    key_is_never_null(model, errors);
    for field in &model.fields {
        name_can_be_asked_for(field, errors);
        initial_value_has_one_source(field, errors);
        on_create_is_for_read_only_fields(field, errors);
        field_is_one_column(field, errors);
    }
    for field in &model.fields {
        written_by_somebody(field, errors);
        shown_to_somebody(field, errors);
        required_is_meant(field, errors);
    }
    key_is_shown(model, errors);
    lookup_field_addresses(model, errors);
    names_are_unique(model, errors);
    relations_can_be_asked_for(model, errors);
    skip_stands_alone(model, errors);
    for alias in &model.aliases {
        alias_can_be_asked_for(alias, errors);
        alias_does_not_hide_a_field(alias, model, errors);
    }
    aliases_are_unique(model, errors);
    nobody_writes_a_view(model, errors);
    groups_are_for_subscriptions(model, errors);
    groups_are_made_of_each_field_once(model, errors);
}

/// Applies every rule about enums.
pub(crate) fn choice(input: &DeriveInput, errors: &mut Errors) {
    let data = match &input.data {
        Data::Enum(data) => data,
        Data::Struct(data) => {
            return errors.on(
                data.struct_token,
                "`RealtimeEnum` is derived for an enum; a struct that maps to a table has `#[derive(RealtimeResource)]`",
            );
        }
        Data::Union(data) => {
            return errors.on(data.union_token, "`RealtimeEnum` is derived for an enum, not for a union");
        }
    };
    enum_has_no_generics(input, errors);
    if data.variants.is_empty() {
        errors.on(
            &input.ident,
            "an enum without variants has no value that a column could hold: add a variant",
        );
    }
    for variant in &data.variants {
        attr::refuse_options(&variant.attrs, "a variant", errors);
        variant_has_no_data(variant, errors);
    }
}

/// The stream is one segment of the path of the REST API, and none of those that the API uses itself.
fn stream_is_a_path_segment(model: &Model<'_>, errors: &mut Errors) {
    let stream = model.stream.value();
    if stream.is_empty() {
        errors.on(&model.stream, "a stream has a name: `stream = \"comments\"`");
    } else if RESERVED_STREAMS.contains(&stream.as_str()) {
        errors.on(
            &model.stream,
            format!(
                "a stream cannot be called {}: choose another name with `#[realtime(stream = \"..\")]`",
                listed(RESERVED_STREAMS.iter().copied()).replace(" and ", " or ")
            ),
        );
    } else if !stream.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-')) {
        errors.on(
            &model.stream,
            "the name of a stream consists of ASCII letters, digits, `_` and `-`: `stream = \"topic-feed\"`",
        );
    }
}

/// A row without a key could not be named.
fn key_is_never_null(model: &Model<'_>, errors: &mut Errors) {
    let Some(key) = model.key.and_then(|key| model.fields.get(key)) else { return };
    if is_option(key.ty) {
        errors.on(key.ty, "the primary key is never `NULL`: write the type without `Option`");
    }
}

/// A public name is the key of a filter, so it must not read as anything else that a query says.
fn name_can_be_asked_for(field: &Field<'_>, errors: &mut Errors) {
    if let Some(reason) = refusal(&field.name) {
        let advice = match field.attrs.rename {
            Some(_) => "choose another name",
            None => "give it another public name with `#[realtime(rename = \"..\")]`",
        };
        errors
            .at(field.name_span(), format!("a field cannot be called `{}`: {reason}\n{advice}", field.name));
    }
}

/// A public name leads to one field.
fn names_are_unique(model: &Model<'_>, errors: &mut Errors) {
    let mut seen: HashMap<&str, &Field<'_>> = HashMap::new();
    for field in &model.fields {
        match seen.get(field.name.as_str()) {
            // The second field may be the one that has no other name: the mistake is where the renaming is.
            Some(first) if field.attrs.rename.is_none() => {
                errors.at(first.name_span(), taken(&field.name));
            }
            Some(_) => errors.at(field.name_span(), taken(&field.name)),
            None => {
                seen.insert(&field.name, field);
            }
        }
    }
}

fn taken(name: &str) -> String {
    format!("two fields are called `{name}`: choose another name")
}

/// A new row's value comes from one place.
fn initial_value_has_one_source(field: &Field<'_>, errors: &mut Errors) {
    if let (Some(_), Some((on_create, _))) = (&field.attrs.default, &field.attrs.on_create) {
        errors.on(on_create, "`default` and `on_create` both give the value of a new row: keep one of them");
    }
}

/// `on_create` would never be asked for a field that every create must name, and would look optional if it were.
fn on_create_is_for_read_only_fields(field: &Field<'_>, errors: &mut Errors) {
    if let (None, Some((on_create, _))) = (&field.attrs.read_only, &field.attrs.on_create) {
        errors.on(
            on_create,
            "`on_create` is for fields that clients do not set: add `read_only`, or use `default`",
        );
    }
}

/// The name of a relation is a member of objects, and begins keys of filters, so it must not read as anything else.
fn relations_can_be_asked_for(model: &Model<'_>, errors: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for Relation { name, span, .. } in &model.relations {
        let advice = "choose another name with `relation = \"..\"`";
        if let Some(reason) = refusal(name) {
            errors.at(*span, format!("a relation cannot be called `{name}`: {reason}\n{advice}"));
        } else if model.fields.iter().any(|field| field.name == *name) {
            errors.at(*span, format!("a field is called `{name}`, so a relation cannot be\n{advice}"));
        } else if seen.contains(&name.as_str()) {
            errors.at(*span, format!("two relations are called `{name}`\n{advice}"));
        }
        seen.push(name);
    }
}

/// A value that clients do not set is not asked anything, and one that only they set is no server's.
fn written_by_somebody(field: &Field<'_>, errors: &mut Errors) {
    let attrs = &field.attrs;
    if let Some(read_only) = &attrs.read_only {
        if let Some(write_only) = &attrs.write_only {
            errors.on(write_only, "a field that is neither read nor written is left out with `skip`");
        }
        if let Some(validate) = &attrs.validate {
            errors.on(
                &validate.key,
                format!("clients do not set this field, so nothing is asked of it: remove `validate`, or `{read_only}`"),
            );
        }
    } else if let Some((on_update, _)) = &attrs.on_update {
        errors.on(on_update, "`on_update` is for fields that clients do not set: add `read_only`");
    }
}

/// What is never shown is not written in another way.
fn shown_to_somebody(field: &Field<'_>, errors: &mut Errors) {
    if let (Some(_), Some((serialize_with, _))) = (&field.attrs.write_only, &field.attrs.serialize_with) {
        errors.on(serialize_with, "a write-only field is never shown: remove one of the two");
    }
    if let (Some(_), Some((references, _))) = (&field.attrs.write_only, &field.attrs.references) {
        errors.on(
            references,
            "whoever is shown what a write-only field refers to knows its value: remove one of the two",
        );
    }
}

/// `required` contradicts what gives the field a value by itself.
fn required_is_meant(field: &Field<'_>, errors: &mut Errors) {
    let Some((key, required)) = &field.attrs.required else { return };
    if field.attrs.read_only.is_some() {
        errors.on(key, "clients do not set a read-only field: remove one of the two");
    } else if *required && field.attrs.default.is_some() {
        errors.on(key, "a field that must be named needs no `default`: keep one of them");
    }
}

/// Replies and events are about the key.
fn key_is_shown(model: &Model<'_>, errors: &mut Errors) {
    let Some(key) = model.key.and_then(|key| model.fields.get(key)) else { return };
    if let Some(write_only) = &key.attrs.write_only {
        errors.on(write_only, "the primary key cannot be write-only: clients know rows by it");
    }
    if let Some((serialize_with, _)) = &key.attrs.serialize_with {
        errors.on(serialize_with, "the primary key is shown as it is: clients address rows with it");
    }
}

/// A row is addressed by a value that it has, as it is shown.
fn lookup_field_addresses(model: &Model<'_>, errors: &mut Errors) {
    let Some((field, token)) = &model.lookup else { return };
    let field = &model.fields[*field];
    if is_option(field.ty) {
        errors.on(token, "a row is addressed by a field that is never `NULL`: choose another one");
    }
    if field.attrs.serialize_with.is_some() {
        errors.on(token, "a row is addressed by what clients are shown: this field has `serialize_with`");
    }
}

/// Diesel's `embed` puts several columns into one field; a field of a resource is one column.
fn field_is_one_column(field: &Field<'_>, errors: &mut Errors) {
    if let Some(embed) = &field.attrs.embed {
        errors.on(
            embed,
            "a field of a resource is one column: write the embedded columns as fields, or add `#[realtime(skip)]`",
        );
    }
}

/// A skipped field is not part of the resource, so there is nothing more to say about it.
fn skip_stands_alone(model: &Model<'_>, errors: &mut Errors) {
    for field in &model.skipped {
        let attrs = &field.attrs;
        let others = [
            attrs.read_only.as_ref(),
            attrs.rename.as_ref().map(|(key, _)| key),
            attrs.default.as_ref().map(|(key, _)| key),
            attrs.on_create.as_ref().map(|(key, _)| key),
            attrs.references.as_ref().map(|(key, _)| key),
            attrs.relation.as_ref().map(|(key, _)| key),
            attrs.nested.as_ref(),
            attrs.on_update.as_ref().map(|(key, _)| key),
            attrs.write_only.as_ref(),
            attrs.required.as_ref().map(|(key, _)| key),
            attrs.validate.as_ref().map(|validate| &validate.key),
            attrs.serialize_with.as_ref().map(|(key, _)| key),
            attrs.help.as_ref().map(|(key, _)| key),
            attrs.example.as_ref().map(|(key, _)| key),
        ];
        for other in others.into_iter().flatten() {
            errors.on(
                other,
                format!("`{other}` says nothing about a skipped field: remove it, or remove `skip`"),
            );
        }
    }
}

/// An alias is the key of a filter, so it must not read as anything else that a query says.
fn alias_can_be_asked_for(alias: &Alias<'_>, errors: &mut Errors) {
    let name = alias.name.unraw().to_string();
    if let Some(reason) = refusal(&name) {
        errors.on(alias.name, format!("an alias cannot be called `{name}`: {reason}\nchoose another name"));
    }
}

/// An alias with the name of a field means what the field's name alone means: equality.
fn alias_does_not_hide_a_field(alias: &Alias<'_>, model: &Model<'_>, errors: &mut Errors) {
    let hidden = model.fields.iter().position(|field| alias.name.unraw() == field.name);
    let (Some(hidden), Some((field, lookup))) = (hidden, &alias.target) else { return };
    let is_refused = refusal(&model.fields[hidden].name).is_some();
    if !is_refused && (hidden != *field || lookup.part.is_some() || lookup.variant != "Exact") {
        errors.on(
            alias.name,
            format!("`{0}` in a filter already means `{0}__exact`: choose another name", alias.name),
        );
    }
}

/// An alias leads to one lookup.
fn aliases_are_unique(model: &Model<'_>, errors: &mut Errors) {
    let mut seen: Vec<&syn::Ident> = Vec::new();
    for alias in &model.aliases {
        if seen.contains(&alias.name) {
            errors.on(alias.name, format!("two aliases are called `{}`: choose another name", alias.name));
        }
        seen.push(alias.name);
    }
}

/// What is said of values that somebody sets says nothing about rows that nobody sets.
fn nobody_writes_a_view(model: &Model<'_>, errors: &mut Errors) {
    if !model.is_over_view {
        return;
    }
    let says_nothing = |key: &dyn std::fmt::Display| {
        format!("nobody writes rows of a view: remove `{key}`, or write it where the table's own resource is")
    };
    for Field { attrs, .. } in &model.fields {
        let options = [
            attrs.write_only.as_ref(),
            attrs.required.as_ref().map(|(key, _)| key),
            attrs.default.as_ref().map(|(key, _)| key),
            attrs.on_create.as_ref().map(|(key, _)| key),
            attrs.on_update.as_ref().map(|(key, _)| key),
            attrs.validate.as_ref().map(|validate| &validate.key),
        ];
        for key in options.into_iter().flatten() {
            errors.on(key, says_nothing(key));
        }
    }
    for check in model.checks {
        errors.on(check, says_nothing(&"validate"));
    }
}

/// Only a subscription is about groups.
fn groups_are_for_subscriptions(model: &Model<'_>, errors: &mut Errors) {
    if let (Some((group_by, _)), Some(actions)) = (&model.group_by, &model.actions)
        && !actions.contains(&"Subscribe")
    {
        errors.on(
            group_by,
            "`group_by` says what subscriptions are about: add `subscribe` to `allowed_actions`, or remove it",
        );
    }
}

/// `pk` is a field, too.
fn groups_are_made_of_each_field_once(model: &Model<'_>, errors: &mut Errors) {
    let Some((_, fields)) = &model.group_by else { return };
    for (at, (field, name)) in fields.iter().enumerate() {
        if let Some((_, first)) = fields[..at].iter().find(|(first, _)| first == field) {
            errors.on(name, format!("`{name}` is the field `{first}`: name it once"));
        }
    }
}

/// The names on the wire are those of the variants; a parameter could not be one of them.
fn enum_has_no_generics(input: &DeriveInput, errors: &mut Errors) {
    for parameter in &input.generics.params {
        errors.on(parameter, "an enum in a column has no generic parameters");
    }
}

/// A value is the name of a variant and nothing more.
fn variant_has_no_data(variant: &syn::Variant, errors: &mut Errors) {
    if !matches!(variant.fields, Fields::Unit) {
        errors.on(
            &variant.fields,
            format!("a variant is written as its name, so it has no data: write `{}` only", variant.ident),
        );
    }
}

/// Why a name cannot be the key of a filter.
fn refusal(name: &str) -> Option<String> {
    let mut letters = name.chars();
    let starts = letters.next().is_some_and(|first| first.is_alphabetic() || first == '_');
    if !starts || !letters.all(|letter| letter.is_alphanumeric() || letter == '_') {
        Some("it consists of letters, digits and `_`, and does not begin with a digit".to_owned())
    } else if name == KEY {
        Some(format!("`{KEY}` stands for the primary key"))
    } else if RESERVED.contains(&name) {
        Some(format!("a query says something else with `{name}`"))
    } else if name.starts_with(NEGATION) || format!("{name}{SEPARATOR}").starts_with(NEGATION) {
        Some(format!("`{NEGATION}` negates a lookup"))
    } else if name.contains(SEPARATOR) {
        Some(format!("`{SEPARATOR}` parts a field from its lookup"))
    } else {
        None
    }
}

/// Is the type written as an `Option`? A macro sees no more than how it is written.
fn is_option(ty: &Type) -> bool {
    match ty {
        Type::Group(group) => is_option(&group.elem),
        Type::Paren(paren) => is_option(&paren.elem),
        Type::Path(path) => path.path.segments.last().is_some_and(|segment| segment.ident == "Option"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn an_option_is_seen_in_every_way_of_writing_it() {
        for ty in [
            parse_quote!(Option<i32>),
            parse_quote!(::core::option::Option<i32>),
            parse_quote!((Option<i32>)),
        ] {
            assert!(is_option(&ty));
        }
        for ty in [parse_quote!(i32), parse_quote!(Vec<Option<i32>>), parse_quote!(&'static str)] {
            assert!(!is_option(&ty));
        }
    }

    #[test]
    fn a_name_is_refused_where_a_filter_would_read_it_otherwise() {
        for name in ["", "a b", "1st", "pk", "search", "not__a", "not", "not_", "topic__id", "größe-1"] {
            assert!(refusal(name).is_some(), "{name}");
        }
        for name in ["id", "topic_id", "größe", "createdAt", "_x", "notes", "type_", "pkey"] {
            assert_eq!(refusal(name), None, "{name}");
        }
    }
}
