//! Reads `#[realtime(..)]`, `#[diesel(..)]` and doc comments. Nothing else knows how an attribute is written.
//!
//! A mistake does not end the reading: it is collected, and the next option is read.

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::{Attribute, Expr, ExprLit, Lit, LitInt, LitStr, Meta, Path, Token, parenthesized, token};

use crate::errors::{Errors, listed, unknown};
use crate::rule::{RULES, Validate};

/// What is said about a struct.
#[derive(Default)]
pub(crate) struct StructAttrs {
    /// `#[realtime(crate = path)]`
    pub(crate) runtime: Option<Path>,
    /// `#[diesel(table_name = path)]`
    pub(crate) table: Option<Path>,
    /// Is there a `table_name`, be it well written or not?
    pub(crate) names_table: bool,
    /// `#[diesel(primary_key(column, ..))]`
    pub(crate) diesel_key: Vec<Ident>,
    /// `#[diesel(check_for_backend(path, ..))]`: the last names of the paths
    pub(crate) diesel_backends: Vec<Ident>,
    /// `#[realtime(primary_key = field)]`
    pub(crate) key: Option<Ident>,
    /// `#[realtime(stream = "name")]`
    pub(crate) stream: Option<LitStr>,
    /// `#[realtime(subscription_field_mapping(alias = "field__lookup", ..))]`
    pub(crate) mapping: Vec<(Ident, LitStr)>,
    /// `#[realtime(lookups(..))]`
    pub(crate) lookups: Selection<(Ident, Selection<Ident>)>,
    /// `#[realtime(ordering(..))]`
    pub(crate) ordering: Selection<Ident>,
    /// `#[realtime(group_by = field)]` or `#[realtime(group_by(field, ..))]`
    pub(crate) group_by: Option<(Ident, Vec<Ident>)>,
    /// `#[realtime(view_of(table(column = field, ..), ..))]`, and the option's name.
    pub(crate) view_of: Option<(Ident, Vec<BaseAttr>)>,
    /// `#[realtime(search(..))]`
    pub(crate) search: Vec<Ident>,
    /// `#[realtime(pagination(default = rows, most = rows))]`
    pub(crate) pagination: Pagination,
    /// `#[realtime(allowed_actions(..))]`
    pub(crate) actions: Option<Vec<Ident>>,
    /// `#[realtime(lookup_field = field)]`
    pub(crate) lookup: Option<Ident>,
    /// `#[realtime(throttle(create = "10/minute"))]`
    pub(crate) throttle: Vec<(Ident, Rate)>,
    /// `#[realtime(rename_all = "camelCase")]`
    pub(crate) rename_all: Option<LitStr>,
    /// `#[realtime(validate(function, ..))]`
    pub(crate) checks: Vec<Expr>,
    /// `#[realtime(zone = expression)]`
    pub(crate) zone: Option<(Ident, Expr)>,
    /// `#[realtime(hooks)]`
    pub(crate) hooks: bool,
    /// `#[realtime(actions)]`
    pub(crate) has_actions: bool,
    /// `#[realtime(policy)]` or `#[realtime(permission = rule)]`
    pub(crate) policy: Policy,
    /// The doc comment.
    pub(crate) description: String,
}

/// A column of a table that a database view reads.
pub(crate) struct BaseAttr {
    /// Diesel's module of the table.
    pub(crate) table: Path,
    pub(crate) column: Ident,
    /// The field that has the same value.
    pub(crate) field: Ident,
}

/// How many rows a page of a list has.
#[derive(Default)]
pub(crate) struct Pagination {
    /// Where a request does not say.
    pub(crate) default: Option<LitInt>,
    /// At most.
    pub(crate) most: Option<LitInt>,
}

/// Who says who may do what.
#[derive(Clone, Default)]
pub(crate) enum Policy {
    /// Nobody: the trait's own answers.
    #[default]
    Default,
    /// The user's implementation of the trait; the option's name.
    ByUser(Ident),
    /// A rule for every action; the option's name.
    Rule(Ident, Expr),
}

/// `all`, or a list.
pub(crate) enum Selection<T> {
    All,
    These(Vec<T>),
}

impl<T> Default for Selection<T> {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

/// What an enum takes.
const ENUM_OPTIONS: &[&str] = &["crate", "own_sql"];

const STRUCT_OPTIONS: &[&str] = &[
    "stream",
    "subscription_field_mapping",
    "lookups",
    "ordering",
    "group_by",
    "view_of",
    "search",
    "pagination",
    "allowed_actions",
    "lookup_field",
    "throttle",
    "rename_all",
    "zone",
    "validate",
    "hooks",
    "actions",
    "permission",
    "policy",
    "primary_key",
    "crate",
];

impl StructAttrs {
    /// Reads the attributes of a struct.
    pub(crate) fn read(attributes: &[Attribute], errors: &mut Errors) -> Self {
        let mut attrs = Self { description: description(attributes), ..Self::default() };
        realtime_options(attributes, errors, |key, input, errors| {
            match key.to_string().as_str() {
                "crate" => attrs.runtime = Some(runtime(key, input)?),
                "stream" => attrs.stream = Some(string(key, input, "stream = \"comments\"")?),
                "primary_key" => {
                    let form = "`primary_key` names one field: `primary_key = id`";
                    attrs.key = Some(assigned(key, input, form, Ident::parse_any)?);
                }
                "hooks" => {
                    flag(key, input)?;
                    attrs.hooks = true;
                }
                "actions" => {
                    if input.peek(token::Paren) {
                        return Err(syn::Error::new(
                            key.span(),
                            "`actions` stands alone, for an `impl` with `#[actions]`; which of the usual ones there are says \
                             `allowed_actions(..)`",
                        ));
                    }
                    flag(key, input)?;
                    attrs.has_actions = true;
                }
                "policy" => {
                    flag(key, input)?;
                    one_policy(&attrs.policy, key)?;
                    attrs.policy = Policy::ByUser(key.clone());
                }
                "permission" => {
                    let form = "`permission` takes a rule: `permission = ReadOnly.or(IsAuthenticated)`";
                    let rule = assigned(key, input, form, Parse::parse)?;
                    one_policy(&attrs.policy, key)?;
                    attrs.policy = Policy::Rule(key.clone(), rule);
                }
                "lookup_field" => {
                    let form = "`lookup_field` names one field: `lookup_field = username`";
                    attrs.lookup = Some(assigned(key, input, form, Ident::parse_any)?);
                }
                "throttle" => attrs.throttle = throttle(key, input, errors)?,
                "rename_all" => {
                    attrs.rename_all = Some(string(key, input, "rename_all = \"camelCase\"")?);
                }
                "zone" => {
                    let form = "`zone` takes a time zone of chrono's: `zone = chrono_tz::Europe::Berlin`";
                    let zone: Expr = assigned(key, input, form, Parse::parse)?;
                    if let Expr::Lit(text) = &zone {
                        return Err(syn::Error::new_spanned(text, form));
                    }
                    attrs.zone = Some((key.clone(), zone));
                }
                "validate" => attrs.checks = functions(key, input, errors)?,
                "subscription_field_mapping" => attrs.mapping = mapping(key, input, errors)?,
                "lookups" => attrs.lookups = lookups(key, input, errors)?,
                "ordering" => {
                    let form = "`ordering` lists fields: `ordering(all)` or `ordering(id, created_at)`";
                    attrs.ordering = Selection::of(words(key, input, errors, form)?, "ordering", errors);
                }
                "group_by" => {
                    let form =
                        "`group_by` names fields: `group_by = topic_id` or `group_by(topic_id, author_id)`";
                    let fields = if input.peek(token::Paren) {
                        words(key, input, errors, form)?
                    } else {
                        vec![assigned(key, input, form, Ident::parse_any)?]
                    };
                    if fields.is_empty() {
                        return Err(syn::Error::new(key.span(), form));
                    }
                    attrs.group_by = Some((key.clone(), fields));
                }
                "view_of" => attrs.view_of = Some((key.clone(), bases(key, input, errors)?)),
                "search" => {
                    let form = "`search` lists fields of text: `search(title, body)`";
                    attrs.search = words(key, input, errors, form)?;
                    if attrs.search.is_empty() {
                        return Err(syn::Error::new(key.span(), form));
                    }
                }
                "pagination" => attrs.pagination = pagination(key, input)?,
                "allowed_actions" => {
                    let form =
                        "`allowed_actions` lists actions: `allowed_actions(list, retrieve, subscribe)`";
                    let actions = words(key, input, errors, form)?;
                    if actions.is_empty() {
                        return Err(syn::Error::new(key.span(), form));
                    }
                    attrs.actions = Some(actions);
                }
                word if FIELD_OPTIONS.contains(&word) => {
                    return Err(syn::Error::new(
                        key.span(),
                        format!("`{word}` belongs to a field, not to the struct"),
                    ));
                }
                "table_name" | "table" => {
                    return Err(syn::Error::new(
                        key.span(),
                        "the table is named as for Diesel: `#[diesel(table_name = comments)]`",
                    ));
                }
                word => return Err(unknown_option(key, word, "a struct", STRUCT_OPTIONS)),
            }
            Ok(())
        });
        diesel_options(attributes, errors, |key, input, errors| {
            match key.to_string().as_str() {
                "table_name" => {
                    attrs.names_table = true;
                    let form = "`table_name` is a path: `#[diesel(table_name = comments)]`";
                    attrs.table = Some(assigned(key, input, form, path)?);
                }
                "primary_key" => {
                    let form = "`primary_key` lists columns: `#[diesel(primary_key(id))]`";
                    attrs.diesel_key = words(key, input, errors, form)?;
                }
                "check_for_backend" => attrs.diesel_backends = backends(input),
                _ => skip_entry(input),
            }
            Ok(())
        });
        attrs
    }
}

/// A rule in the attribute is an implementation of the trait: there cannot be another one.
fn one_policy(before: &Policy, key: &Ident) -> syn::Result<()> {
    match before {
        Policy::Default => Ok(()),
        Policy::ByUser(other) | Policy::Rule(other, _) => Err(syn::Error::new(
            key.span(),
            format!(
                "`{other}` says already who may do what: write `permission = ..` for a rule here, or `policy` for an \
                 implementation of `Policy` of your own"
            ),
        )),
    }
}

impl Selection<Ident> {
    /// Turns the list with the only word `all` into [`Selection::All`].
    fn of(words: Vec<Ident>, what: &str, errors: &mut Errors) -> Self {
        match words.iter().find(|word| *word == "all") {
            None => Self::These(words),
            Some(all) => {
                if words.len() > 1 {
                    errors.on(
                        all,
                        format!("`all` stands alone: write `{what}(all)`, or leave it out of the list"),
                    );
                }
                Self::All
            }
        }
    }
}

/// What is said about a field. Options keep their own name: some mistakes are about the name, not the value.
#[derive(Default)]
pub(crate) struct FieldAttrs {
    /// `#[realtime(read_only)]`
    pub(crate) read_only: Option<Ident>,
    /// `#[realtime(write_only)]`
    pub(crate) write_only: Option<Ident>,
    /// `#[realtime(required)]` or `#[realtime(required = false)]`
    pub(crate) required: Option<(Ident, bool)>,
    /// `#[realtime(rename = "name")]`
    pub(crate) rename: Option<(Ident, LitStr)>,
    /// `#[realtime(references = Topic)]`
    pub(crate) references: Option<(Ident, Path)>,
    /// `#[realtime(relation = "topic")]`
    pub(crate) relation: Option<(Ident, LitStr)>,
    /// `#[realtime(nested)]`
    pub(crate) nested: Option<Ident>,
    /// `#[realtime(skip)]`
    pub(crate) skip: Option<Ident>,
    /// `#[realtime(default = expression)]`
    pub(crate) default: Option<(Ident, Expr)>,
    /// `#[realtime(on_create = function)]`
    pub(crate) on_create: Option<(Ident, Expr)>,
    /// `#[realtime(on_update = function)]`
    pub(crate) on_update: Option<(Ident, Expr)>,
    /// `#[realtime(serialize_with = function)]`
    pub(crate) serialize_with: Option<(Ident, Expr)>,
    /// `#[realtime(validate(..))]`
    pub(crate) validate: Option<Validate>,
    /// `#[realtime(help = "text")]`
    pub(crate) help: Option<(Ident, LitStr)>,
    /// `#[realtime(example = expression)]`
    pub(crate) example: Option<(Ident, Expr)>,
    /// `#[diesel(column_name = column)]`
    pub(crate) column: Option<Ident>,
    /// `#[diesel(embed)]`
    pub(crate) embed: Option<Ident>,
    /// The doc comment.
    pub(crate) description: String,
}

const FIELD_OPTIONS: &[&str] = &[
    "read_only",
    "write_only",
    "required",
    "default",
    "on_create",
    "on_update",
    "validate",
    "rename",
    "serialize_with",
    "help",
    "example",
    "skip",
    "references",
    "relation",
    "nested",
];

impl FieldAttrs {
    /// Reads the attributes of a field.
    pub(crate) fn read(attributes: &[Attribute], errors: &mut Errors) -> Self {
        let mut attrs = Self { description: description(attributes), ..Self::default() };
        realtime_options(attributes, errors, |key, input, errors| {
            match key.to_string().as_str() {
                "read_only" => {
                    attrs.read_only = Some(key.clone());
                    flag(key, input)?;
                }
                "write_only" => {
                    attrs.write_only = Some(key.clone());
                    flag(key, input)?;
                }
                "required" => {
                    let form = "`required` stands alone, or is `required = false`";
                    let required = if input.peek(Token![=]) {
                        assigned(key, input, form, <syn::LitBool as Parse>::parse)?.value
                    } else {
                        flag(key, input)?;
                        true
                    };
                    attrs.required = Some((key.clone(), required));
                }
                "validate" => attrs.validate = Some(Validate::read(key, input, errors)?),
                "help" => {
                    attrs.help = Some((key.clone(), string(key, input, "help = \"What it is for.\"")?));
                }
                "example" => {
                    let form = "`example` takes an expression of the field's type: `example = \"hello\"`";
                    attrs.example = Some((key.clone(), assigned(key, input, form, Parse::parse)?));
                }
                "on_update" => {
                    let form =
                        "`on_update` takes a function of the context: `on_update = |context| context.now`";
                    attrs.on_update = Some((key.clone(), assigned(key, input, form, Parse::parse)?));
                }
                "serialize_with" => {
                    let form = "`serialize_with` takes a function of the row: `serialize_with = |row| row.body.len() as i64`";
                    attrs.serialize_with = Some((key.clone(), assigned(key, input, form, Parse::parse)?));
                }
                "skip" => {
                    attrs.skip = Some(key.clone());
                    flag(key, input)?;
                }
                "references" => {
                    let form =
                        "`references` names the resource of the row that the key is of: `references = Topic`";
                    attrs.references = Some((key.clone(), assigned(key, input, form, path)?));
                }
                "relation" => {
                    attrs.relation = Some((key.clone(), string(key, input, "relation = \"topic\"")?));
                }
                "nested" => {
                    attrs.nested = Some(key.clone());
                    flag(key, input)?;
                }
                "rename" => {
                    attrs.rename = Some((key.clone(), string(key, input, "rename = \"text\"")?));
                }
                "default" => {
                    let form = "`default` takes an expression of the field's type: `default = 0`";
                    attrs.default = Some((key.clone(), assigned(key, input, form, Parse::parse)?));
                }
                "on_create" => {
                    let form =
                        "`on_create` takes a function of the context: `on_create = |context| context.now`";
                    attrs.on_create = Some((key.clone(), assigned(key, input, form, Parse::parse)?));
                }
                word if STRUCT_OPTIONS.contains(&word) => {
                    return Err(syn::Error::new(
                        key.span(),
                        format!("`{word}` belongs to the struct, not to a field"),
                    ));
                }
                "column_name" => {
                    return Err(syn::Error::new(
                        key.span(),
                        "the column is named as for Diesel: `#[diesel(column_name = text)]`",
                    ));
                }
                word => return Err(unknown_option(key, word, "a field", FIELD_OPTIONS)),
            }
            Ok(())
        });
        diesel_options(attributes, errors, |key, input, _| {
            match key.to_string().as_str() {
                "column_name" => {
                    let form = "`column_name` names one column: `#[diesel(column_name = text)]`";
                    attrs.column = Some(assigned(key, input, form, column)?);
                }
                "embed" => attrs.embed = Some(key.clone()),
                _ => skip_entry(input),
            }
            Ok(())
        });
        attrs
    }
}

/// What is said about an enum.
#[derive(Default)]
pub(crate) struct EnumAttrs {
    /// `#[realtime(crate = path)]`
    pub(crate) runtime: Option<Path>,
    /// `#[realtime(own_sql)]`
    own_sql: bool,
    /// `#[diesel(sql_type = Text)]`, as many as there are.
    sql_types: Vec<Path>,
}

impl EnumAttrs {
    /// Is it for us to say how a value is stored? As text, unless a column is of another type.
    pub(crate) fn is_stored_as_text(&self) -> bool {
        let is_text = |path: &Path| {
            path.segments.last().is_some_and(|last| last.ident == "Text" || last.ident == "VarChar")
        };
        !self.own_sql && (self.sql_types.is_empty() || self.sql_types.iter().any(is_text))
    }

    /// Reads the attributes of an enum.
    pub(crate) fn read(attributes: &[Attribute], errors: &mut Errors) -> Self {
        let mut attrs = Self::default();
        realtime_options(attributes, errors, |key, input, _| {
            match key.to_string().as_str() {
                "crate" => attrs.runtime = Some(runtime(key, input)?),
                "own_sql" => attrs.own_sql = true,
                word => return Err(unknown_option(key, word, "an enum", ENUM_OPTIONS)),
            }
            Ok(())
        });
        diesel_options(attributes, errors, |key, input, _| {
            match key.to_string().as_str() {
                "sql_type" => {
                    let form = "`sql_type` is a path: `#[diesel(sql_type = diesel::sql_types::Text)]`";
                    attrs.sql_types.push(assigned(key, input, form, path)?);
                }
                _ => skip_entry(input),
            }
            Ok(())
        });
        attrs
    }
}

/// What is said to the macro `actions`.
#[derive(Default)]
pub(crate) struct ActionsAttrs {
    /// `#[actions(crate = path)]`
    pub(crate) runtime: Option<Path>,
}

impl ActionsAttrs {
    /// Reads what stands in the parentheses of the macro.
    pub(crate) fn read(options: &TokenStream, errors: &mut Errors) -> Self {
        let mut attrs = Self::default();
        read(options, errors, |input, _| {
            let key = option_name(input)?;
            if key != "crate" {
                return Err(unknown_option(&key, &key.to_string(), "`actions`", &["crate"]));
            }
            attrs.runtime = Some(runtime(&key, input)?);
            Ok(())
        });
        attrs
    }
}

/// What is said about an action.
#[derive(Default)]
pub(crate) struct ActionAttrs {
    /// `#[action(name = "bulk-hide")]`
    pub(crate) name: Option<LitStr>,
    /// `#[action(permission = rule)]`
    pub(crate) permission: Option<Expr>,
    /// `#[action(throttle = "10/minute")]`
    pub(crate) throttle: Option<Rate>,
    /// The doc comment.
    pub(crate) description: String,
}

impl ActionAttrs {
    /// Reads each `#[action(..)]`, and the doc comment among the other attributes.
    pub(crate) fn read(marks: &[Attribute], others: &[Attribute], errors: &mut Errors) -> Self {
        let mut attrs = Self { description: description(others), ..Self::default() };
        let mut seen: Vec<Ident> = Vec::new();
        for mark in marks {
            let list = match &mark.meta {
                Meta::Path(_) => continue,
                Meta::List(list) => list,
                Meta::NameValue(_) => {
                    errors.on(&mark.meta, "options go into parentheses: `#[action(..)]`");
                    continue;
                }
            };
            read(&list.tokens, errors, |input, _| {
                let key = option_name(input)?;
                if seen.contains(&key) {
                    skip_entry(input);
                    return Err(syn::Error::new(key.span(), format!("`{key}` is given twice")));
                }
                seen.push(key.clone());
                match key.to_string().as_str() {
                    "name" => attrs.name = Some(string(&key, input, "name = \"bulk-hide\"")?),
                    "permission" => {
                        let form = "`permission` takes a rule: `permission = IsAuthenticated`";
                        attrs.permission = Some(assigned(&key, input, form, Parse::parse)?);
                    }
                    "throttle" => {
                        attrs.throttle = Some(rate(&string(&key, input, "throttle = \"10/minute\"")?)?);
                    }
                    word => {
                        return Err(unknown_option(
                            &key,
                            word,
                            "an action",
                            &["name", "permission", "throttle"],
                        ));
                    }
                }
                Ok(())
            });
        }
        attrs
    }
}

fn option_name(input: ParseStream<'_>) -> syn::Result<Ident> {
    Ident::parse_any(input).map_err(|error| syn::Error::new(error.span(), "expected the name of an option"))
}

/// Reports every `#[realtime(..)]` on something that has no options.
pub(crate) fn refuse_options(attributes: &[Attribute], what: &str, errors: &mut Errors) {
    realtime_options(attributes, errors, |key, _, _| {
        Err(syn::Error::new(key.span(), format!("{what} has no options of `realtime`")))
    });
}

fn unknown_option(key: &Ident, word: &str, owner: &str, choices: &[&str]) -> syn::Error {
    let first = unknown("option", word, choices.iter().copied());
    syn::Error::new(key.span(), format!("{first}\n{owner} takes {}", listed(choices.iter().copied())))
}

/// Calls `option` with the name of each option of each `#[realtime(..)]` and the input behind the name.
fn realtime_options(
    attributes: &[Attribute],
    errors: &mut Errors,
    mut option: impl FnMut(&Ident, ParseStream<'_>, &mut Errors) -> syn::Result<()>,
) {
    let mut seen: Vec<Ident> = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("realtime")) {
        let Meta::List(list) = &attribute.meta else {
            errors.on(&attribute.meta, "options go into parentheses: `#[realtime(..)]`");
            continue;
        };
        read(&list.tokens, errors, |input, errors| {
            let key = option_name(input)?;
            if seen.contains(&key) {
                skip_entry(input);
                return Err(syn::Error::new(key.span(), format!("`{key}` is given twice")));
            }
            seen.push(key.clone());
            option(&key, input, errors)
        });
    }
}

/// Calls `option` for each option of each `#[diesel(..)]`. What Diesel's own derives would refuse is passed over.
fn diesel_options(
    attributes: &[Attribute],
    errors: &mut Errors,
    mut option: impl FnMut(&Ident, ParseStream<'_>, &mut Errors) -> syn::Result<()>,
) {
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("diesel")) {
        let Meta::List(list) = &attribute.meta else { continue };
        read(&list.tokens, errors, |input, errors| {
            if let Ok(key) = Ident::parse_any(input) {
                option(&key, input, errors)
            } else {
                skip_entry(input);
                Ok(())
            }
        });
    }
}

/// Reads tokens as a list of entries.
fn read(
    tokens: &TokenStream,
    errors: &mut Errors,
    mut entry: impl FnMut(ParseStream<'_>, &mut Errors) -> syn::Result<()>,
) {
    let all = |input: ParseStream<'_>| {
        entries(input, errors, &mut entry);
        Ok(())
    };
    if let Err(error) = Parser::parse2(all, tokens.clone()) {
        errors.push(error);
    }
}

/// Reads entries between commas. After a mistake, the reading goes on behind the next comma.
fn entries(
    input: ParseStream<'_>,
    errors: &mut Errors,
    entry: &mut dyn FnMut(ParseStream<'_>, &mut Errors) -> syn::Result<()>,
) {
    while !input.is_empty() {
        if let Err(error) = entry(input, errors) {
            errors.push(error);
            skip_entry(input);
        } else if !input.is_empty() && !input.peek(Token![,]) {
            errors.push(input.error("expected `,`"));
            skip_entry(input);
        }
        let _ = input.parse::<Option<Token![,]>>();
    }
}

/// Passes over everything before the next comma.
fn skip_entry(input: ParseStream<'_>) {
    while !input.is_empty() && !input.peek(Token![,]) {
        let _ = input.parse::<TokenTree>();
    }
}

/// Reads `key(default = rows, most = rows)`.
fn pagination(key: &Ident, input: ParseStream<'_>) -> syn::Result<Pagination> {
    let form = "`pagination` says how many rows a page has: `pagination(default = 20, most = 100)`";
    if !input.peek(token::Paren) {
        return Err(syn::Error::new(key.span(), form));
    }
    let content;
    parenthesized!(content in input);
    let read = rows_of_pages(&content, form);
    // After a mistake the rest is passed over: it would be reported as one of its own.
    while content.parse::<TokenTree>().is_ok() {}
    read
}

fn rows_of_pages(content: ParseStream<'_>, form: &str) -> syn::Result<Pagination> {
    let mut pagination = Pagination::default();
    while !content.is_empty() {
        let name = Ident::parse_any(content).map_err(|error| syn::Error::new(error.span(), form))?;
        let place = match name.to_string().as_str() {
            "default" => &mut pagination.default,
            "most" => &mut pagination.most,
            word => {
                let first = unknown("option", word, ["default", "most"]);
                return Err(syn::Error::new(name.span(), format!("{first}\n{form}")));
            }
        };
        content.parse::<Token![=]>().map_err(|_| syn::Error::new(name.span(), form))?;
        let rows: LitInt = content.parse().map_err(|error| syn::Error::new(error.span(), form))?;
        if !matches!(rows.base10_parse::<usize>(), Ok(1..)) {
            return Err(syn::Error::new(rows.span(), "a page has at least one row"));
        }
        *place = Some(rows);
        content.parse::<Option<Token![,]>>()?;
    }
    Ok(pagination)
}

/// Reads nothing: `key`
pub(crate) fn flag(key: &Ident, input: ParseStream<'_>) -> syn::Result<()> {
    if !input.peek(Token![=]) && !input.peek(token::Paren) {
        return Ok(());
    }
    Err(syn::Error::new(key.span(), format!("`{key}` takes no value: write only `{key}`")))
}

/// Reads `= value`; `form` says how the option is written.
pub(crate) fn assigned<T>(
    key: &Ident,
    input: ParseStream<'_>,
    form: &str,
    value: impl FnOnce(ParseStream<'_>) -> syn::Result<T>,
) -> syn::Result<T> {
    if input.parse::<Option<Token![=]>>()?.is_none() || input.is_empty() || input.peek(Token![,]) {
        return Err(syn::Error::new(key.span(), form));
    }
    value(input).map_err(|error| syn::Error::new(error.span(), form))
}

/// Reads `= "text"`.
pub(crate) fn string(key: &Ident, input: ParseStream<'_>, example: &str) -> syn::Result<LitStr> {
    let form = format!("`{key}` takes a string: `{example}`");
    assigned(key, input, &form, Parse::parse)
}

/// Reads `= ::path::of::the::crate`.
fn runtime(key: &Ident, input: ParseStream<'_>) -> syn::Result<Path> {
    let form = "`crate` takes the path of the crate that is used: `crate = ::realtime_core`";
    assigned(key, input, form, Path::parse_mod_style)
}

/// Reads a path, or a string that holds one, which Diesel also takes.
fn path(input: ParseStream<'_>) -> syn::Result<Path> {
    if input.peek(LitStr) {
        return input.parse::<LitStr>()?.parse_with(Path::parse_mod_style);
    }
    input.call(Path::parse_mod_style)
}

/// Reads an identifier, or a string that holds one, which Diesel also takes.
fn column(input: ParseStream<'_>) -> syn::Result<Ident> {
    if input.peek(LitStr) {
        return input.parse::<LitStr>()?.parse_with(Ident::parse_any);
    }
    Ident::parse_any(input)
}

/// Reads `(entry, ..)`.
pub(crate) fn list(
    key: &Ident,
    input: ParseStream<'_>,
    errors: &mut Errors,
    form: &str,
    mut entry: impl FnMut(ParseStream<'_>, &mut Errors) -> syn::Result<()>,
) -> syn::Result<()> {
    if !input.peek(token::Paren) {
        return Err(syn::Error::new(key.span(), form));
    }
    let content;
    parenthesized!(content in input);
    entries(&content, errors, &mut entry);
    Ok(())
}

/// Reads `(word, ..)`.
fn words(key: &Ident, input: ParseStream<'_>, errors: &mut Errors, form: &str) -> syn::Result<Vec<Ident>> {
    let mut words: Vec<Ident> = Vec::new();
    list(key, input, errors, form, |input, _| {
        let word = Ident::parse_any(input).map_err(|error| syn::Error::new(error.span(), form))?;
        if words.contains(&word) {
            return Err(syn::Error::new(word.span(), format!("`{word}` is listed twice")));
        }
        words.push(word);
        Ok(())
    })?;
    Ok(words)
}

/// So many times in so many seconds.
#[derive(Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) times: u32,
    pub(crate) seconds: u32,
}

/// Reads `(action = "10/minute", ..)`.
fn throttle(key: &Ident, input: ParseStream<'_>, errors: &mut Errors) -> syn::Result<Vec<(Ident, Rate)>> {
    let form = "`throttle` says how often somebody may do something: \
                `throttle(create = \"10/minute\", update = \"100/hour\")`";
    let mut rates: Vec<(Ident, Rate)> = Vec::new();
    list(key, input, errors, form, |input, _| {
        let action = Ident::parse_any(input).map_err(|error| syn::Error::new(error.span(), form))?;
        let text: LitStr = assigned(&action, input, form, Parse::parse)?;
        if rates.iter().any(|(limited, _)| *limited == action) {
            return Err(syn::Error::new(action.span(), format!("`{action}` is listed twice")));
        }
        rates.push((action, rate(&text)?));
        Ok(())
    })?;
    if rates.is_empty() { Err(syn::Error::new(key.span(), form)) } else { Ok(rates) }
}

/// Reads `"10/minute"`.
fn rate(text: &LitStr) -> syn::Result<Rate> {
    const PERIODS: &[(&str, u32)] = &[("second", 1), ("minute", 60), ("hour", 3_600), ("day", 86_400)];
    let value = text.value();
    let (times, period) = value.split_once('/').unwrap_or((&value, ""));
    let seconds = PERIODS.iter().find(|(name, _)| *name == period).map(|(_, seconds)| *seconds);
    match (times.parse().ok().filter(|times| *times > 0), seconds) {
        (Some(times), Some(seconds)) => Ok(Rate { times, seconds }),
        _ => Err(syn::Error::new(
            text.span(),
            "a rate is a number and a period, one of `second`, `minute`, `hour` and `day`: \"10/minute\"",
        )),
    }
}

/// Reads `(table(column, column = field, ..), ..)`.
fn bases(key: &Ident, input: ParseStream<'_>, errors: &mut Errors) -> syn::Result<Vec<BaseAttr>> {
    let form = "`view_of` names the tables that the view reads, and by which column a row has a part in those of the view: \
                `view_of(comments(id), topics(id = topic_id))`";
    let mut bases: Vec<BaseAttr> = Vec::new();
    let mut is_empty = true;
    list(key, input, errors, form, |input, errors| {
        is_empty = false;
        let table = path(input).map_err(|error| syn::Error::new(error.span(), form))?;
        let name = table.segments.last().map_or_else(|| key.clone(), |segment| segment.ident.clone());
        let form = format!(
            "say by which column: `{name}(id)`, or `{name}(id = field)` where the field is called otherwise"
        );
        let mut has_columns = false;
        list(&name, input, errors, &form, |input, _| {
            has_columns = true;
            let column = Ident::parse_any(input).map_err(|error| syn::Error::new(error.span(), &form))?;
            let field = if input.peek(Token![=]) {
                assigned(&column, input, &form, Ident::parse_any)?
            } else {
                column.clone()
            };
            let is_same =
                |base: &BaseAttr| (&base.table, &base.column, &base.field) == (&table, &column, &field);
            if bases.iter().any(is_same) {
                return Err(syn::Error::new(column.span(), format!("`{column}` is listed twice")));
            }
            bases.push(BaseAttr { table: table.clone(), column, field });
            Ok(())
        })?;
        if has_columns { Ok(()) } else { Err(syn::Error::new(name.span(), form)) }
    })?;
    if is_empty { Err(syn::Error::new(key.span(), form)) } else { Ok(bases) }
}

/// Reads `(function, ..)`.
fn functions(key: &Ident, input: ParseStream<'_>, errors: &mut Errors) -> syn::Result<Vec<Expr>> {
    let form = "`validate` of a struct lists functions that look at several fields: `validate(dates_in_order)`, for a \
                `fn dates_in_order(draft: &mut Draft)`";
    let mut functions: Vec<Expr> = Vec::new();
    list(key, input, errors, form, |input, _| {
        let named = input.fork().call(Ident::parse_any).ok();
        if let Some(rule) = named.filter(|name| RULES.iter().any(|rule| name == rule)) {
            return Err(syn::Error::new(
                rule.span(),
                format!("`{rule}` belongs to a field: a struct's `validate` lists functions"),
            ));
        }
        let function: Expr = input.parse().map_err(|error| syn::Error::new(error.span(), form))?;
        functions.push(function);
        Ok(())
    })?;
    if functions.is_empty() { Err(syn::Error::new(key.span(), form)) } else { Ok(functions) }
}

/// Reads `(diesel::pg::Pg, ..)`: the last name of each path. Whatever else Diesel takes there is passed over.
fn backends(input: ParseStream<'_>) -> Vec<Ident> {
    let paths = |input: ParseStream<'_>| {
        let content;
        parenthesized!(content in input);
        content.parse_terminated(Path::parse_mod_style, Token![,])
    };
    let Ok(paths) = paths(&input.fork()) else {
        skip_entry(input);
        return Vec::new();
    };
    skip_entry(input);
    paths.into_iter().filter_map(|path| Some(path.segments.last()?.ident.clone())).collect()
}

/// Reads `(alias = "field__lookup", ..)`.
fn mapping(key: &Ident, input: ParseStream<'_>, errors: &mut Errors) -> syn::Result<Vec<(Ident, LitStr)>> {
    let form = "`subscription_field_mapping` gives lookups a name: \
                `subscription_field_mapping(ids = \"pk__in\", topic = \"topic_id__exact\")`";
    let mut mapping: Vec<(Ident, LitStr)> = Vec::new();
    list(key, input, errors, form, |input, _| {
        let alias = Ident::parse_any(input).map_err(|error| {
            syn::Error::new(error.span(), "expected an alias: `topic = \"topic_id__exact\"`")
        })?;
        let target = string(&alias, input, &format!("{alias} = \"field__lookup\""))?;
        mapping.push((alias, target));
        Ok(())
    })?;
    Ok(mapping)
}

/// Reads `(all)` or `(field(lookup, ..), field(all), ..)`.
fn lookups(
    key: &Ident,
    input: ParseStream<'_>,
    errors: &mut Errors,
) -> syn::Result<Selection<(Ident, Selection<Ident>)>> {
    let form = "`lookups` lists fields and what may be asked of each: \
                `lookups(all)` or `lookups(id(exact, in), title(all))`";
    let mut every: Option<Ident> = None;
    let mut fields: Vec<(Ident, Selection<Ident>)> = Vec::new();
    list(key, input, errors, form, |input, errors| {
        let field = Ident::parse_any(input).map_err(|error| syn::Error::new(error.span(), form))?;
        if field == "all" && !input.peek(token::Paren) {
            every = Some(field);
            return Ok(());
        }
        let form = format!("say which lookups: `{field}(all)` or `{field}(exact, in)`");
        let lookups = words(&field, input, errors, &form)?;
        if fields.iter().any(|(listed, _)| *listed == field) {
            return Err(syn::Error::new(field.span(), format!("`{field}` is listed twice")));
        }
        let lookups = Selection::of(lookups, &field.to_string(), errors);
        fields.push((field, lookups));
        Ok(())
    })?;
    match every {
        None => Ok(Selection::These(fields)),
        Some(every) if !fields.is_empty() => Err(syn::Error::new(
            every.span(),
            "`all` stands alone: write `lookups(all)`, or leave it out of the list",
        )),
        Some(_) => Ok(Selection::All),
    }
}

/// The doc comment, its lines without the space behind `///`.
fn description(attributes: &[Attribute]) -> String {
    let lines: Vec<String> = attributes
        .iter()
        .filter_map(|attribute| {
            let Meta::NameValue(meta) = &attribute.meta else { return None };
            if !meta.path.is_ident("doc") {
                return None;
            }
            let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &meta.value else { return None };
            Some(text.value().lines().map(str::trim).collect::<Vec<_>>().join("\n"))
        })
        .collect();
    lines.join("\n").trim().to_owned()
}
