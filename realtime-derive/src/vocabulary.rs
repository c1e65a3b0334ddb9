//! The words that attributes may use. Core has the same ones as types; a macro cannot ask it.

/// The lookups: the name on the wire and the variant of core's `Lookup`.
pub(crate) const LOOKUPS: &[(&str, &str)] = &[
    ("exact", "Exact"),
    ("iexact", "IExact"),
    ("contains", "Contains"),
    ("icontains", "IContains"),
    ("startswith", "StartsWith"),
    ("istartswith", "IStartsWith"),
    ("endswith", "EndsWith"),
    ("iendswith", "IEndsWith"),
    ("in", "In"),
    ("gt", "Gt"),
    ("gte", "Gte"),
    ("lt", "Lt"),
    ("lte", "Lte"),
    ("range", "Range"),
    ("isnull", "IsNull"),
    ("regex", "Regex"),
    ("iregex", "IRegex"),
];

/// The parts of dates and timestamps: the name on the wire and the variant of core's `Part`. One may stand before a
/// lookup, or alone for equality.
pub(crate) const PARTS: &[(&str, &str)] = &[
    ("year", "Year"),
    ("month", "Month"),
    ("day", "Day"),
    ("week_day", "WeekDay"),
    ("quarter", "Quarter"),
    ("date", "Date"),
    ("hour", "Hour"),
    ("minute", "Minute"),
];

/// What `lookups(..)` calls the key paths of JSON, and stands for them where a lookup has its variant.
pub(crate) const PATH: &str = "path";

/// The actions that may be allowed: the name on the wire and the variant of core's `Action`.
pub(crate) const ACTIONS: &[(&str, &str)] = &[
    ("list", "List"),
    ("retrieve", "Retrieve"),
    ("subscribe", "Subscribe"),
    ("create", "Create"),
    ("update", "Update"),
    ("replace", "Replace"),
    ("delete", "Delete"),
];

/// Those of a resource over a database view: variants of core's `Action`.
pub(crate) const VIEW_ACTIONS: &[&str] = &["List", "Retrieve", "Subscribe"];

/// What an application's action cannot be called beside them: what else has a place among the actions of a stream.
pub(crate) const RESERVED_ACTIONS: &[&str] = &["unsubscribe", "events", "changes", "ping", "authenticate"];

/// What a query or a subscription says besides its filter, so no key of a filter may be called that.
pub(crate) const RESERVED: &[&str] = &[
    "form",
    "fields",
    "actions",
    "snapshot",
    "since",
    "wait",
    "limit",
    "offset",
    "cursor",
    "ordering",
    "search",
    "expand",
    "count",
    "page",
    "page_size",
];

/// What the paths of an API say besides its streams.
pub(crate) const RESERVED_STREAMS: &[&str] = &["ws", "explorer", "openapi.json", "asyncapi.json"];

/// The ways of `rename_all`.
pub(crate) const CASES: &[&str] =
    &["camelCase", "PascalCase", "snake_case", "SCREAMING_SNAKE_CASE", "lowercase", "UPPERCASE"];

/// The name by which every filter can ask for the primary key.
pub(crate) const KEY: &str = "pk";

/// What parts a field from its lookup in the key of a filter.
pub(crate) const SEPARATOR: &str = "__";

/// What turns a lookup into its opposite.
pub(crate) const NEGATION: &str = "not__";

/// The variant that a name on the wire stands for.
pub(crate) fn variant_of(words: &'static [(&str, &str)], name: &str) -> Option<&'static str> {
    words.iter().find(|(word, _)| *word == name).map(|(_, variant)| *variant)
}

/// The names on the wire.
pub(crate) fn names(words: &'static [(&str, &str)]) -> impl Iterator<Item = &'static str> + Clone {
    words.iter().map(|(name, _)| *name)
}
