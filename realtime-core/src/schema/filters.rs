//! The keys of filters, each with the type of its argument.

use serde_json::{Value as Json, json};

use super::Subject;
use super::values::of_kind;
use crate::field::Kind;
use crate::filter::TextMatch;
use crate::limits::Limits;
use crate::lookup::Lookup;
use crate::part::Part;
use crate::view::View;

/// A key that a filter may have.
pub(super) struct Key {
    pub(super) name: String,
    /// Of its argument; of one value of it, where it takes several.
    pub(super) schema: Json,
    pub(super) lookup: Lookup,
    pub(super) description: String,
    /// Does it lead across a relation? Then it is for lists only.
    pub(super) across: bool,
    /// Does it lead into JSON?
    path: bool,
}

impl Key {
    /// The schema of the whole argument.
    pub(super) fn argument(&self, limits: &Limits) -> Json {
        match self.lookup {
            Lookup::In => json!({"type": "array", "items": self.schema, "maxItems": limits.filter_list}),
            Lookup::Range => json!({"type": "array", "items": self.schema, "minItems": 2, "maxItems": 2}),
            _ => self.schema.clone(),
        }
    }
}

/// The keys that a filter of a resource may have: aliases, and fields with their lookups. `not__` before a key is not
/// among them, nor are key paths into JSON: there is no end of those.
pub(super) fn keys(subject: &Subject<'_>, view: &View<'_>) -> Vec<Key> {
    let limits = &subject.limits;
    let mut keys = own(view, limits);
    for relation in view.descriptor().lists.relations.iter().filter(|relation| view.shows(relation.field)) {
        let Ok(target) = view.across(relation, crate::resource::Action::List) else { continue };
        let decided = own(&target, limits).into_iter().filter(|key| {
            !(subject.undecided.contains(key.lookup) || key.path && subject.undecided.contains_paths())
        });
        keys.extend(decided.map(|key| Key {
            name: format!("{}__{}", relation.name, key.name),
            across: true,
            ..key
        }));
    }
    keys
}

fn own(view: &View<'_>, limits: &Limits) -> Vec<Key> {
    let descriptor = view.descriptor();
    let mut keys = Vec::new();
    let mut add =
        |name: String, field: usize, (part, path): (Option<Part>, bool), lookup, description: String| {
            let schema = argument(descriptor.fields[field].kind, part, lookup, limits);
            keys.push(Key { name, schema, lookup, description, across: false, path });
        };
    for alias in descriptor.aliases.iter().filter(|alias| view.shows(alias.field)) {
        let field = descriptor.fields[alias.field].name;
        let part = alias.part.map(|part| format!("__{}", part.name())).unwrap_or_default();
        let path: String = alias.path.iter().map(|key| format!("__{key}")).collect();
        let description = format!("The same as `{field}{part}{path}__{}`.", alias.lookup.name());
        add(
            alias.name.to_owned(),
            alias.field,
            (alias.part, !alias.path.is_empty()),
            alias.lookup,
            description,
        );
    }
    for field in view.indexes() {
        let known = &descriptor.fields[field];
        let zone = descriptor.zone_of(field).map(|zone| format!("In {}.", zone.name())).unwrap_or_default();
        for lookup in known.lookups.iter() {
            if lookup == Lookup::Exact {
                add(known.name.to_owned(), field, (None, false), lookup, String::new());
            } else {
                add(
                    format!("{}__{}", known.name, lookup.name()),
                    field,
                    (None, false),
                    lookup,
                    String::new(),
                );
            }
        }
        for part in known.lookups.parts() {
            for lookup in Part::LOOKUPS.iter() {
                let name = match lookup {
                    Lookup::Exact => format!("{}__{}", known.name, part.name()),
                    lookup => format!("{}__{}__{}", known.name, part.name(), lookup.name()),
                };
                add(name, field, (Some(part), false), lookup, zone.clone());
            }
        }
    }
    // An alias may be called as the field whose equality it means.
    let mut seen = std::collections::HashSet::new();
    keys.retain(|key| seen.insert(key.name.clone()));
    keys
}

fn argument(kind: Kind, part: Option<Part>, lookup: Lookup, limits: &Limits) -> Json {
    match (lookup, part) {
        (Lookup::IsNull, _) => json!({"type": "boolean"}),
        (Lookup::Regex | Lookup::IRegex, _) => json!({"type": "string", "format": "regex"}),
        (_, Some(Part::Date)) => of_kind(Kind::Date),
        (_, Some(_)) => json!({"type": "integer"}),
        (_, None) => match kind {
            // A number that no row can have is one like any other.
            Kind::Integer { .. } => json!({"type": "integer"}),
            Kind::Text if TextMatch::of(lookup).is_some() => {
                json!({"type": "string", "maxLength": limits.filter_pattern_bytes})
            }
            kind => of_kind(kind),
        },
    }
}
