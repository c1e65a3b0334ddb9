//! The model of a resource: what the attributes say, with defaults filled in and names resolved to fields.

use proc_macro2::{Ident, Span};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Expr, Fields, GenericArgument, LitInt, LitStr, Path, PathArguments, Type};

use crate::attr::{FieldAttrs, Policy, Rate, Selection, StructAttrs};
use crate::errors::{Errors, listed, unknown};
use crate::rule::Rule;
use crate::vocabulary::{
    ACTIONS, CASES, KEY, LOOKUPS, NEGATION, PARTS, PATH, SEPARATOR, VIEW_ACTIONS, names, variant_of,
};

/// A struct that becomes a resource.
pub(crate) struct Model<'a> {
    /// The struct's name.
    pub(crate) ident: &'a Ident,
    /// Diesel's module of the table.
    pub(crate) table: Path,
    /// The public name, on the token it comes from.
    pub(crate) stream: LitStr,
    /// The fields that clients see, in the order of the struct.
    pub(crate) fields: Vec<Field<'a>>,
    /// The fields that clients do not see.
    pub(crate) skipped: Vec<Skipped<'a>>,
    /// The index of the primary key in `fields`; `None` where it was reported that there is none.
    pub(crate) key: Option<usize>,
    /// The index of the field that addresses a row, where it is another one, and the token that says so.
    pub(crate) lookup: Option<(usize, Ident)>,
    /// The variants of core's `Action` that are limited, and how.
    pub(crate) throttle: Vec<(&'static str, Rate)>,
    /// The subscription field mapping.
    pub(crate) aliases: Vec<Alias<'a>>,
    /// The option's name, and the indexes of the fields that make groups, each with the token that names it.
    pub(crate) group_by: Option<(&'a Ident, Vec<(usize, &'a Ident)>)>,
    /// The tables that the database view reads; none where the rows are those of a table.
    pub(crate) bases: Vec<Base<'a>>,
    /// Is the resource over a database view?
    pub(crate) is_over_view: bool,
    /// The fields in which `search` looks, each on the token that names it.
    pub(crate) search: Vec<(usize, Span)>,
    /// How many rows a page has where a request does not say, and at most.
    pub(crate) pagination: [Option<LitInt>; 2],
    /// The foreign keys that lead to other resources.
    pub(crate) relations: Vec<Relation>,
    /// The variants of core's `Action`; `None` for all of them.
    pub(crate) actions: Option<Vec<&'static str>>,
    /// What is asked of several fields together.
    pub(crate) checks: &'a [Expr],
    /// The option's name, and the zone in which the parts of timestamps are read.
    pub(crate) zone: Option<&'a (Ident, Expr)>,
    /// Does the user implement `Hooks` himself?
    pub(crate) hooks: bool,
    /// Has the user actions of his own?
    pub(crate) has_actions: bool,
    /// Who says who may do what.
    pub(crate) policy: Policy,
    /// The databases that the model is for.
    pub(crate) backends: Backends,
    /// The doc comment.
    pub(crate) description: String,
}

/// A column of a table that a database view reads.
pub(crate) struct Base<'a> {
    /// Diesel's module of the table.
    pub(crate) table: &'a Path,
    pub(crate) column: &'a Ident,
    /// The index of the field that has the same value.
    pub(crate) field: usize,
}

/// A foreign key that leads to another resource.
pub(crate) struct Relation {
    /// What clients call it.
    pub(crate) name: String,
    /// Where a mistake about the name is reported.
    pub(crate) span: Span,
    /// The index of the field.
    pub(crate) field: usize,
    /// The other resource.
    pub(crate) target: Path,
    pub(crate) nested: bool,
}

/// The databases that a model is for, as far as they are enabled.
#[derive(Clone, Copy)]
pub(crate) struct Backends {
    pub(crate) sqlite: bool,
    pub(crate) postgres: bool,
}

impl Backends {
    /// Every one.
    pub(crate) const ALL: Self = Self { sqlite: true, postgres: true };

    /// Those that Diesel is told to check the model for; all of them where it is told of none of ours.
    pub(crate) fn resolve(attrs: &StructAttrs) -> Self {
        let names = |backend: &str| attrs.diesel_backends.iter().any(|name| name == backend);
        let named = Self { sqlite: names("Sqlite"), postgres: names("Pg") };
        if named.sqlite || named.postgres { named } else { Self::ALL }
    }
}

/// A field that clients see.
pub(crate) struct Field<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) ty: &'a Type,
    /// The name of the column in Diesel's module of the table.
    pub(crate) column: Ident,
    /// The public name.
    pub(crate) name: String,
    /// The lookups under the field's own name.
    pub(crate) lookups: Lookups,
    /// May a list be ordered by it?
    pub(crate) orderable: bool,
    /// What the options were.
    pub(crate) attrs: FieldAttrs,
}

/// A field that clients do not see.
pub(crate) struct Skipped<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) ty: &'a Type,
    /// What the options were.
    pub(crate) attrs: FieldAttrs,
}

/// The lookups of a field.
pub(crate) enum Lookups {
    /// Those that its type has.
    All,
    /// The given ones.
    These(Vec<Lookup>),
}

/// One lookup, of a field or of a part of it, on the token that names it.
pub(crate) struct Lookup {
    /// The variant of core's `Part` that is compared; `None` for the field itself.
    pub(crate) part: Option<&'static str>,
    /// The steps into JSON, at whose end the value lies that is compared; none for the field itself.
    pub(crate) path: Vec<String>,
    /// The variant of core's `Lookup`, or `PATH`.
    pub(crate) variant: &'static str,
    pub(crate) span: Span,
}

/// One entry of the subscription field mapping.
pub(crate) struct Alias<'a> {
    pub(crate) name: &'a Ident,
    /// The index of the field, and the lookup; `None` where it was reported that there is no such thing.
    pub(crate) target: Option<(usize, Lookup)>,
}

impl Field<'_> {
    /// What is asked of its values.
    pub(crate) fn rules(&self) -> &[Rule] {
        self.attrs.validate.as_ref().map_or(&[], |validate| &validate.rules)
    }

    /// Where a mistake about the public name is reported.
    pub(crate) fn name_span(&self) -> Span {
        self.attrs.rename.as_ref().map_or_else(|| self.ident.span(), |(_, name)| name.span())
    }
}

impl<'a> Model<'a> {
    /// Resolves a struct and its attributes; `None` where it is not a struct that could be a resource.
    ///
    /// A name that leads nowhere is reported and replaced or left out, so that the rest can be looked at as well.
    pub(crate) fn resolve(
        input: &'a DeriveInput,
        attrs: &'a StructAttrs,
        errors: &mut Errors,
    ) -> Option<Self> {
        let case = attrs.rename_all.as_ref().and_then(|case| case_of(case, errors));
        let (fields, skipped) = fields(input, case, errors)?;
        let table = table(input, attrs, errors);
        let mut model = Self {
            ident: &input.ident,
            stream: stream(attrs, &table),
            table,
            fields,
            skipped,
            key: None,
            lookup: None,
            throttle: Vec::new(),
            aliases: Vec::new(),
            group_by: None,
            bases: Vec::new(),
            is_over_view: attrs.view_of.is_some(),
            search: Vec::new(),
            pagination: [attrs.pagination.default.clone(), attrs.pagination.most.clone()],
            relations: Vec::new(),
            actions: attrs
                .actions
                .as_deref()
                .map(|actions| resolve_actions(actions, attrs.view_of.is_some(), errors)),
            checks: &attrs.checks,
            zone: attrs.zone.as_ref(),
            hooks: attrs.hooks,
            has_actions: attrs.has_actions,
            policy: attrs.policy.clone(),
            backends: Backends::resolve(attrs),
            description: attrs.description.clone(),
        };
        model.key = model.resolve_key(attrs, errors);
        model.relations = model.resolve_relations(errors);
        model.resolve_lookups(attrs, errors);
        model.resolve_lookup_field(attrs, errors);
        model.resolve_throttle(attrs, errors);
        model.resolve_ordering(attrs, errors);
        model.group_by = attrs.group_by.as_ref().map(|(key, names)| {
            let field =
                |name: &'a Ident| Some((model.shown(&name.unraw().to_string(), name.span(), errors)?, name));
            (key, names.iter().filter_map(field).collect())
        });
        for base in attrs.view_of.iter().flat_map(|(_, bases)| bases) {
            let field = model.shown(&base.field.unraw().to_string(), base.field.span(), errors);
            let (table, column) = (&base.table, &base.column);
            model.bases.extend(field.map(|field| Base { table, column, field }));
        }
        for name in &attrs.search {
            let span = name.span();
            model
                .search
                .extend(model.shown(&name.unraw().to_string(), span, errors).map(|field| (field, span)));
        }
        model.aliases = attrs
            .mapping
            .iter()
            .map(|(name, target)| Alias { name, target: model.target(name, target, errors) })
            .collect();
        Some(model)
    }

    fn resolve_key(&self, attrs: &StructAttrs, errors: &mut Errors) -> Option<usize> {
        let wanted = match (&attrs.key, attrs.diesel_key.as_slice()) {
            (Some(key), _) | (None, [key]) => key.clone(),
            (None, []) => Ident::new("id", self.ident.span()),
            (None, [_, second, ..]) => {
                errors.on(
                    second,
                    "a resource has one primary key: name the one column that identifies a row with \
                     `#[realtime(primary_key = id)]`",
                );
                return None;
            }
        };
        let is_wanted = |ident: &Ident, column: Option<&Ident>| {
            ident.unraw() == wanted.unraw() || column.is_some_and(|column| column.unraw() == wanted.unraw())
        };
        let key = self.fields.iter().position(|field| is_wanted(field.ident, Some(&field.column)));
        if key.is_some() {
            return key;
        }
        if let Some(skipped) =
            self.skipped.iter().find(|field| is_wanted(field.ident, field.attrs.column.as_ref()))
        {
            // The rule is stated here because the resolved model has no place for such a key.
            let token = skipped.attrs.skip.as_ref().unwrap_or(skipped.ident);
            errors.on(token, "the primary key cannot be skipped: clients know rows by it");
        } else if attrs.key.is_none() && attrs.diesel_key.is_empty() {
            errors.on(
                self.ident,
                "a resource needs a primary key: add a field `id`, or name the field with \
                 `#[diesel(primary_key(field))]`",
            );
        } else {
            let fields = self.fields.iter().map(|field| field.ident.to_string()).collect::<Vec<_>>();
            let fields = fields.iter().map(String::as_str);
            let first = unknown("field", &wanted.to_string(), fields.clone());
            errors.on(&wanted, format!("{first}\nthe fields are {}", listed(fields)));
        }
        None
    }

    fn resolve_relations(&self, errors: &mut Errors) -> Vec<Relation> {
        let mut relations = Vec::new();
        for (at, field) in self.fields.iter().enumerate() {
            let attrs = &field.attrs;
            let Some((key, target)) = &attrs.references else {
                let others = [attrs.relation.as_ref().map(|(key, _)| key), attrs.nested.as_ref()];
                for other in others.into_iter().flatten() {
                    errors.on(other, format!("`{other}` is about a foreign key: add `references = Topic`"));
                }
                continue;
            };
            let (name, span) = match &attrs.relation {
                Some((_, name)) => (name.value(), name.span()),
                None => match field.name.strip_suffix("_id").filter(|name| !name.is_empty()) {
                    Some(name) => (name.to_owned(), field.name_span()),
                    None => {
                        errors.on(
                            key,
                            format!(
                                "the relation needs a name that is not `{}`: add `relation = \"..\"`",
                                field.name
                            ),
                        );
                        continue;
                    }
                },
            };
            let (target, nested) = (target.clone(), attrs.nested.is_some());
            relations.push(Relation { name, span, field: at, target, nested });
        }
        relations
    }

    fn resolve_lookups(&mut self, attrs: &StructAttrs, errors: &mut Errors) {
        let span = self.ident.span();
        if let Some(key) = self.key.and_then(|key| self.fields.get_mut(key)) {
            let of_key = ["Exact", "In"];
            key.lookups = Lookups::These(
                of_key.map(|variant| Lookup { part: None, path: Vec::new(), variant, span }).into(),
            );
        }
        match &attrs.lookups {
            Selection::All => {
                for field in self.fields.iter_mut().filter(|field| field.attrs.write_only.is_none()) {
                    field.lookups = Lookups::All;
                }
            }
            Selection::These(listed) => {
                for (name, lookups) in listed {
                    let lookups = match lookups {
                        Selection::All => Lookups::All,
                        Selection::These(lookups) => Lookups::These(
                            lookups.iter().filter_map(|lookup| resolve_listed(lookup, errors)).collect(),
                        ),
                    };
                    if let Some(field) = self.shown(&name.unraw().to_string(), name.span(), errors) {
                        self.fields[field].lookups = lookups;
                    }
                }
            }
        }
    }

    fn resolve_lookup_field(&mut self, attrs: &StructAttrs, errors: &mut Errors) {
        let Some(name) = &attrs.lookup else { return };
        let field = self.shown(&name.unraw().to_string(), name.span(), errors);
        self.lookup = field.map(|field| (field, name.clone()));
    }

    fn resolve_throttle(&mut self, attrs: &StructAttrs, errors: &mut Errors) {
        let limited = ["list", "retrieve", "create", "update", "replace", "delete"];
        for (action, rate) in &attrs.throttle {
            let name = action.unraw().to_string();
            match variant_of(ACTIONS, &name).filter(|_| limited.contains(&name.as_str())) {
                Some(variant) => self.throttle.push((variant, *rate)),
                None => {
                    let first = unknown("action", &name, limited);
                    errors.on(
                        action,
                        format!("{first}\nthe actions that can be limited are {}", listed(limited)),
                    );
                }
            }
        }
    }

    fn resolve_ordering(&mut self, attrs: &StructAttrs, errors: &mut Errors) {
        let all = matches!(attrs.ordering, Selection::All);
        let mut orderable: Vec<bool> =
            self.fields.iter().map(|field| all && field.attrs.write_only.is_none()).collect();
        if let Some(key) = self.key.and_then(|key| orderable.get_mut(key)) {
            *key = true;
        }
        if let Selection::These(listed) = &attrs.ordering {
            for name in listed {
                if let Some(field) = self.shown(&name.unraw().to_string(), name.span(), errors) {
                    orderable[field] = true;
                }
            }
        }
        for (field, orderable) in self.fields.iter_mut().zip(orderable) {
            field.orderable = orderable;
        }
    }

    fn target(&self, name: &Ident, target: &LitStr, errors: &mut Errors) -> Option<(usize, Lookup)> {
        let text = target.value();
        if let Some(positive) = text.strip_prefix(NEGATION) {
            errors.on(
                target,
                format!("an alias is not negated: write `\"{positive}\"`, a filter says `{NEGATION}{name}`"),
            );
            return None;
        }
        let (field, lookup) = self.parted(&text).unwrap_or((&text, "exact"));
        let field = self.shown(field, target.span(), errors);
        if let Some(index) = field
            && self.fields.get(index).is_some_and(|field| is_json(field.ty))
            && let Some(lookup) = path_of(lookup, target.span())
        {
            return Some((index, lookup));
        }
        let lookup = lookup_of(lookup, target.span(), errors);
        Some((field?, lookup?))
    }

    /// A field and the lookup behind it. The field's name may end with an underscore, which is then one of three.
    fn parted<'t>(&self, text: &'t str) -> Option<(&'t str, &'t str)> {
        let (name, rest) = text.split_once(SEPARATOR)?;
        let longer = &text[..=name.len()];
        match rest.strip_prefix('_') {
            Some(rest) if self.fields.iter().any(|field| field.name == longer) => Some((longer, rest)),
            _ => Some((name, rest)),
        }
    }

    /// The same of a field that clients are shown. Whoever can ask for another one can find out what is in it.
    fn shown(&self, name: &str, span: Span, errors: &mut Errors) -> Option<usize> {
        let field = self.field(name, span, errors)?;
        if self.fields[field].attrs.write_only.is_some() {
            errors.at(span, format!("the field `{name}` is write-only: clients cannot ask for it"));
            return None;
        }
        Some(field)
    }

    /// The index of the field with a public name, or with the name that stands for the key.
    fn field(&self, name: &str, span: Span, errors: &mut Errors) -> Option<usize> {
        let found = self.fields.iter().position(|field| field.name == name);
        if found.is_some() {
            return found;
        }
        if name == KEY {
            return self.key;
        }
        let names = self.fields.iter().map(|field| field.name.as_str());
        let renamed = self.fields.iter().find(|field| field.ident.unraw() == name);
        let message = match renamed {
            Some(field) => format!("the field `{name}` is known to clients as `{}`: write that", field.name),
            None if self.skipped.iter().any(|field| field.ident.unraw() == name) => {
                format!("the field `{name}` is skipped: clients cannot ask for it")
            }
            None => format!(
                "{}\nthe fields are {}",
                unknown("field", name, names.clone()),
                listed(names.chain([KEY]))
            ),
        };
        errors.at(span, message);
        None
    }
}

/// The named fields, those that clients see and those that they do not.
fn fields<'a>(
    input: &'a DeriveInput,
    case: Option<&str>,
    errors: &mut Errors,
) -> Option<(Vec<Field<'a>>, Vec<Skipped<'a>>)> {
    let data = match &input.data {
        Data::Struct(data) => data,
        Data::Enum(data) => {
            errors.on(
                data.enum_token,
                "a resource is a struct that maps to a table; an enum in a column has `#[derive(RealtimeEnum)]`",
            );
            return None;
        }
        Data::Union(data) => {
            errors.on(data.union_token, "a resource is a struct that maps to a table, not a union");
            return None;
        }
    };
    let named = match &data.fields {
        Fields::Named(fields) if !fields.named.is_empty() => &fields.named,
        Fields::Unnamed(fields) => {
            errors.on(fields, "a resource has named fields: `struct Comment { id: i64, body: String }`");
            return None;
        }
        Fields::Named(_) | Fields::Unit => {
            errors.on(&input.ident, "a resource has fields: `struct Comment { id: i64, body: String }`");
            return None;
        }
    };
    for parameter in &input.generics.params {
        errors.on(
            parameter,
            "a resource has no generic parameters: its fields own what they hold, as `String` does",
        );
    }
    let mut fields = Vec::new();
    let mut skipped = Vec::new();
    for field in named {
        let Some(ident) = &field.ident else { continue };
        let attrs = FieldAttrs::read(&field.attrs, errors);
        if attrs.skip.is_some() {
            skipped.push(Skipped { ident, ty: &field.ty, attrs });
            continue;
        }
        let name = match &attrs.rename {
            Some((_, name)) => name.value(),
            None => in_case(&ident.unraw().to_string(), case),
        };
        fields.push(Field {
            ident,
            ty: &field.ty,
            column: attrs.column.clone().unwrap_or_else(|| ident.clone()),
            name,
            lookups: Lookups::These(Vec::new()),
            orderable: false,
            attrs,
        });
    }
    Some((fields, skipped))
}

/// The way of `rename_all`, where it is one.
fn case_of(case: &LitStr, errors: &mut Errors) -> Option<&'static str> {
    let text = case.value();
    let known = CASES.iter().copied().find(|known| *known == text);
    if known.is_none() {
        if matches!(text.as_str(), "kebab-case" | "SCREAMING-KEBAB-CASE") {
            errors.on(case, "a public name has no `-`: write `\"camelCase\"` or `\"snake_case\"`");
        } else {
            let first = unknown("case", &text, CASES.iter().copied());
            errors.on(case, format!("{first}\nthe cases are {}", listed(CASES.iter().copied())));
        }
    }
    known
}

/// A field's name, as `rename_all` writes it.
fn in_case(name: &str, case: Option<&str>) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>())
    };
    let pascal = || name.split('_').filter_map(capital).collect::<String>();
    match case {
        Some("camelCase") => {
            let pascal = pascal();
            let mut letters = pascal.chars();
            letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
        }
        Some("PascalCase") => pascal(),
        Some("SCREAMING_SNAKE_CASE" | "UPPERCASE") => name.to_uppercase(),
        Some("lowercase") => name.to_lowercase(),
        _ => name.to_owned(),
    }
}

fn table(input: &DeriveInput, attrs: &StructAttrs, errors: &mut Errors) -> Path {
    attrs.table.clone().unwrap_or_else(|| {
        if !attrs.names_table {
            errors.on(
                &input.ident,
                format!(
                    "a resource needs a table: add `#[diesel(table_name = {})]` with the name of the table",
                    plural(&input.ident.unraw().to_string()),
                ),
            );
        }
        input.ident.clone().into()
    })
}

/// A guess at the table's name, for a message.
fn plural(name: &str) -> String {
    let mut plural = String::new();
    for (at, letter) in name.char_indices() {
        if letter.is_uppercase() && at > 0 {
            plural.push('_');
        }
        plural.extend(letter.to_lowercase());
    }
    if !plural.ends_with('s') {
        plural.push('s');
    }
    plural
}

fn stream(attrs: &StructAttrs, table: &Path) -> LitStr {
    attrs.stream.clone().unwrap_or_else(|| {
        let name = table.segments.last().map(|segment| segment.ident.unraw().to_string()).unwrap_or_default();
        LitStr::new(&name, table.segments.last().map_or_else(|| table.span(), |segment| segment.ident.span()))
    })
}

fn resolve_actions(actions: &[Ident], of_view: bool, errors: &mut Errors) -> Vec<&'static str> {
    actions
        .iter()
        .filter_map(|action| {
            let name = action.to_string();
            let variant = variant_of(ACTIONS, &name);
            if name == "unsubscribe" {
                errors.on(action, "who may `subscribe` may `unsubscribe`: write `subscribe` only");
            } else if of_view && variant.is_some_and(|variant| !VIEW_ACTIONS.contains(&variant)) {
                let offered = names(ACTIONS)
                    .filter(|name| variant_of(ACTIONS, name).is_some_and(|known| VIEW_ACTIONS.contains(&known)));
                errors.on(
                    action,
                    format!(
                        "nobody writes rows of a view: `{name}` belongs to a resource over the table\nthe actions of a view are {}",
                        listed(offered)
                    ),
                );
            } else if variant.is_none() {
                let first = unknown("action", &name, names(ACTIONS));
                errors.on(action, format!("{first}\nthe actions are {}", listed(names(ACTIONS))));
            }
            variant
        })
        .collect()
}

/// A part that is listed is listed with all its lookups.
fn resolve_listed(lookup: &Ident, errors: &mut Errors) -> Option<Lookup> {
    let name = lookup.unraw().to_string();
    if let Some((part, _)) = name.split_once(SEPARATOR).filter(|(part, _)| variant_of(PARTS, part).is_some())
    {
        errors.on(lookup, format!("a part has all its lookups: write `{part}`"));
        return None;
    }
    if name == PATH {
        return Some(Lookup { part: None, path: Vec::new(), variant: PATH, span: lookup.span() });
    }
    lookup_of(&name, lookup.span(), errors)
}

fn lookup_of(name: &str, span: Span, errors: &mut Errors) -> Option<Lookup> {
    if let Some(variant) = variant_of(LOOKUPS, name) {
        return Some(Lookup { part: None, path: Vec::new(), variant, span });
    }
    let (part, lookup) = name.split_once(SEPARATOR).unwrap_or((name, "exact"));
    if let (part @ Some(_), Some(variant)) = (variant_of(PARTS, part), variant_of(LOOKUPS, lookup)) {
        return Some(Lookup { part, path: Vec::new(), variant, span });
    }
    let first = unknown("lookup", name, names(LOOKUPS).chain(names(PARTS)));
    let (lookups, parts) = (listed(names(LOOKUPS)), listed(names(PARTS)));
    errors.at(
        span,
        format!("{first}\nthe lookups are {lookups}\nthe parts of dates and timestamps are {parts}"),
    );
    None
}

/// `colour`, `0__colour` or `colour__icontains`, as filters say it: the last step is a lookup if it is called as one.
fn path_of(name: &str, span: Span) -> Option<Lookup> {
    let mut path: Vec<String> = name.split(SEPARATOR).map(str::to_owned).collect();
    let variant = path.last().and_then(|last| variant_of(LOOKUPS, last));
    if variant.is_some() {
        path.pop();
    }
    let leads_somewhere = !path.is_empty() && path.iter().all(|step| !step.is_empty());
    leads_somewhere.then(|| Lookup { part: None, path, variant: variant.unwrap_or("Exact"), span })
}

/// Is the type written as JSON? A macro sees no more than how it is written; what it is, the compiler checks.
fn is_json(ty: &Type) -> bool {
    match ty {
        Type::Group(group) => is_json(&group.elem),
        Type::Paren(paren) => is_json(&paren.elem),
        Type::Path(path) => path.path.segments.last().is_some_and(|segment| match &segment.arguments {
            PathArguments::AngleBracketed(arguments) if segment.ident == "Option" => arguments
                .args
                .iter()
                .any(|argument| matches!(argument, GenericArgument::Type(ty) if is_json(ty))),
            _ => ["Value", "Json", "JsonValue"].iter().any(|name| segment.ident == name),
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_written_in_its_case() {
        let written = |name: &str| CASES.iter().map(|case| in_case(name, Some(case))).collect::<Vec<_>>();
        assert_eq!(
            written("created_at"),
            ["createdAt", "CreatedAt", "created_at", "CREATED_AT", "created_at", "CREATED_AT"]
        );
        assert_eq!(written("id"), ["id", "Id", "id", "ID", "id", "ID"]);
        assert_eq!(in_case("_x_1", Some("camelCase")), "x1");
        assert_eq!(in_case("created_at", None), "created_at");
    }

    #[test]
    fn the_guess_at_a_table_is_what_diesel_users_write() {
        assert_eq!(plural("Comment"), "comments");
        assert_eq!(plural("BlogPost"), "blog_posts");
        assert_eq!(plural("News"), "news");
    }
}
