//! A list: which page of which rows, in which order.

use serde_json::{Value as Json, json};

use crate::context::Principal;
use crate::error::{Error, shown};
use crate::expand::{self, Expanded};
use crate::field::Kind;
use crate::filter::{self, Filter, Predicate, RawArgument};
use crate::limits::Limits;
use crate::page_key::PageKey;
use crate::related::{self, Related};
use crate::resource::{Descriptor, Record, Relation, Row};
use crate::search;
use crate::value::Value;
use crate::view::View;

/// The names that stand beside a list's filter. No filter may bear them.
pub const LIST_OPTIONS: &[&str] =
    &["limit", "offset", "page", "page_size", "cursor", "ordering", "search", "count", "fields", "expand"];

/// Names that the protocol keeps for other requests or for later. In a query string they are no filter.
pub const RESERVED: &[&str] = &[
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

/// One key of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderKey {
    /// The index of the field.
    pub field: usize,
    /// From the greatest to the smallest; `NULL` is then first, otherwise last.
    pub descending: bool,
}

impl OrderKey {
    pub(crate) fn reversed(self) -> Self {
        Self { descending: !self.descending, ..self }
    }
}

/// Where a page begins.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    Offset(u64),
    /// Where a cursor says, which nobody has looked at yet: see [`ListQuery::with_key`].
    Sealed(String),
    /// After the row with these values of the order's keys, or, backward, before it.
    Beside {
        values: Vec<Value<'static>>,
        backward: bool,
    },
    /// The same of a row whose values are too long for a link, or not what is shown of them: its key and a digest of the
    /// values stand in for them. Before a page is read it becomes [`Start::Beside`].
    BesideRow {
        key: Value<'static>,
        digest: String,
        backward: bool,
    },
}

/// Bytes that the values of a row may take in a page cursor, as JSON. A server reads some 64 KiB of a link, clients and
/// proxies less.
const CURSOR_VALUES: usize = 1_024;

/// A parsed list request.
#[derive(Clone, Debug)]
pub struct ListQuery {
    pub(crate) filter: Filter,
    /// What must hold beside it, of rows of other resources.
    pub(crate) related: Vec<Related>,
    /// The fields to show, `None` for all.
    pub(crate) fields: Option<Vec<usize>>,
    /// The relations whose rows are shown beside.
    pub(crate) expand: Vec<&'static Relation>,
    /// Never empty: the primary key breaks every tie.
    pub(crate) order: Vec<OrderKey>,
    pub(crate) limit: usize,
    pub(crate) start: Start,
    pub(crate) count: bool,
    /// The limit of that name.
    pub(crate) scanned_rows: usize,
    /// Signs the cursors of the page. Without it a page has none.
    pub(crate) key: Option<PageKey>,
}

/// The rows of one page and the way to its neighbours.
#[derive(Clone)]
pub struct Page {
    /// The rows, in order.
    pub rows: Vec<Row>,
    /// The cursor of the page after.
    pub next: Option<String>,
    /// The cursor of the page before.
    pub previous: Option<String>,
    /// The number of all rows that the filter selects.
    pub count: Option<u64>,
    /// The fields to show, `None` for all.
    pub fields: Option<Vec<usize>>,
    /// The rows that relations lead to.
    pub expanded: Vec<Expanded>,
}

impl ListQuery {
    /// Only those of the rows that another filter selects too.
    #[must_use]
    pub fn within(mut self, descriptor: &Descriptor, filter: Filter) -> Self {
        self.filter = self.filter.and(descriptor, filter);
        self
    }

    /// Only those of the rows that refer to rows of other resources that exist for somebody.
    #[must_use]
    pub fn across_seen_by(mut self, principal: &Principal) -> Self {
        for Related { relation, filter, .. } in &mut self.related {
            let target = (relation.target)();
            *filter = filter.clone().and(target, target.rules.visible(principal));
        }
        self
    }

    /// The rows that a filter selects, in the order of their keys, and no more than so many.
    pub(crate) fn whole(descriptor: &Descriptor, filter: Filter, limit: usize) -> Self {
        Self {
            filter,
            related: Vec::new(),
            fields: None,
            expand: Vec::new(),
            order: vec![OrderKey { field: descriptor.key, descending: false }],
            limit,
            start: Start::Offset(0),
            count: false,
            scanned_rows: limit,
            key: None,
        }
    }

    /// Only those of the rows that refer to the row with a key.
    #[must_use]
    pub fn of(self, descriptor: &Descriptor, relation: &Relation, key: Value<'static>) -> Self {
        let condition = filter::one_of(vec![key]);
        let refers = Predicate::of(relation.field, condition);
        self.within(descriptor, Filter::new(descriptor, vec![refers]))
    }

    /// Parses a filter and the options beside it.
    ///
    /// # Errors
    /// 400 that names the key.
    pub fn parse<'a>(
        view: impl Into<View<'a>>,
        filter: impl IntoIterator<Item = (String, RawArgument)>,
        options: &[(String, Json)],
        limits: &Limits,
    ) -> Result<Self, Error> {
        let view = view.into();
        let descriptor = view.descriptor();
        let (filter, related) = related::take(&view, filter.into_iter().collect(), limits)?;
        let mut filter = filter::parse(view.clone(), filter, limits)?;
        let regexes =
            related.iter().map(|related| related.filter.regexes()).sum::<usize>() + filter.regexes();
        if regexes > limits.filter_regexes {
            return Err(filter::too_many_regexes(limits));
        }
        let option = |name: &str| options.iter().find(|(key, _)| key == name).map(|(_, json)| json);
        if let Some(json) = option("search") {
            let text = json.as_str().ok_or_else(|| Error::validation("search", "Not a valid string."))?;
            filter = filter.and(descriptor, search::parse(&view, text, limits)?);
        }
        let fields = option("fields").map(|json| parse_fields(&view, json)).transpose()?;
        let expand = option("expand").map_or(Ok(Vec::new()), |json| expand::parse(&view, json))?;
        let limit = match (option("limit"), option("page_size")) {
            (Some(_), Some(_)) => {
                return Err(Error::validation("page_size", "It says the same as limit: give one of them."));
            }
            (Some(json), None) => rows_of_page(descriptor, limits, "limit", json)?,
            (None, Some(json)) => rows_of_page(descriptor, limits, "page_size", json)?,
            (None, None) => descriptor
                .lists
                .default_rows
                .unwrap_or(limits.default_page_rows)
                .min(most_rows(descriptor, limits)),
        };
        let count = match option("count") {
            None => true,
            Some(Json::Bool(count)) => *count,
            Some(Json::String(text)) if text == "true" || text == "false" => text == "true",
            Some(_) => return Err(Error::validation("count", "Must be a valid boolean.")),
        };
        let order = parse_order(&view, option("ordering"))?;
        let places: Vec<(&str, &Json)> =
            ["offset", "page", "cursor"].iter().filter_map(|name| Some((*name, option(name)?))).collect();
        let start = match places.as_slice() {
            [] => Start::Offset(0),
            [("offset", json)] => Start::Offset(
                whole_number(json)
                    .filter(|offset| i64::try_from(*offset).is_ok())
                    .ok_or_else(|| Error::validation("offset", "A number from 0 is required."))?,
            ),
            [("page", json)] => Start::Offset(
                whole_number(json)
                    .and_then(|page| page.checked_sub(1)?.checked_mul(limit as u64))
                    .filter(|offset| i64::try_from(*offset).is_ok())
                    .ok_or_else(|| Error::validation("page", "A number from 1 is required."))?,
            ),
            [(_, json)] => Start::Sealed(json.as_str().ok_or_else(not_of_this_list)?.to_owned()),
            [.., (name, _)] => {
                return Err(Error::validation(
                    *name,
                    "A list has an offset, a page or a cursor, not several of them.",
                ));
            }
        };
        Ok(Self {
            filter,
            related,
            fields,
            expand,
            order,
            limit,
            start,
            count,
            scanned_rows: limits.scanned_rows,
            key: None,
        })
    }

    /// Opens the cursor that the page begins at, and signs those of the pages around it. To be called before the list is
    /// read: without a key a list with a cursor is refused, and one without has no cursors.
    ///
    /// # Errors
    /// 400 where the cursor was not made with this key, for this resource and this order.
    pub fn with_key(mut self, descriptor: &Descriptor, key: &PageKey) -> Result<Self, Error> {
        if let Start::Sealed(text) = &self.start {
            let place = key.open(&list_text(descriptor, &self.order), text);
            let place = place.and_then(|place| parse_place(descriptor, &self.order, &place));
            self.start = place.ok_or_else(not_of_this_list)?;
        }
        self.key = Some(key.clone());
        Ok(self)
    }

    /// Is it known where the page begins?
    ///
    /// # Errors
    /// 400 where it begins at a cursor that nobody has opened.
    pub(crate) fn check_opened(&self) -> Result<(), Error> {
        if matches!(self.start, Start::Sealed(_)) { Err(not_of_this_list()) } else { Ok(()) }
    }

    /// The order in which the database is asked: reversed for the way back.
    pub(crate) fn asked_order(&self) -> Vec<OrderKey> {
        match self.start {
            Start::Beside { backward: true, .. } | Start::BesideRow { backward: true, .. } => {
                self.order.iter().map(|key| key.reversed()).collect()
            }
            _ => self.order.clone(),
        }
    }

    /// Makes the page of the rows that were read in the asked order, one more than the limit where there are.
    pub(crate) fn page(&self, descriptor: &Descriptor, mut rows: Vec<Row>, count: Option<u64>) -> Page {
        let beyond = rows.len() > self.limit;
        rows.truncate(self.limit);
        let (has_next, has_previous) = match &self.start {
            Start::Offset(offset) => (beyond, *offset > 0),
            Start::Beside { backward: true, .. } | Start::BesideRow { backward: true, .. } => {
                rows.reverse();
                (true, beyond)
            }
            Start::Beside { .. } | Start::BesideRow { .. } | Start::Sealed(_) => (beyond, true),
        };
        let cursor = |row: Option<&Row>, backward: bool| {
            Some(self.cursor(self.key.as_ref()?, descriptor, row?.as_ref(), backward))
        };
        Page {
            next: if has_next { cursor(rows.last(), false) } else { None },
            previous: if has_previous { cursor(rows.first(), true) } else { None },
            rows,
            count,
            fields: self.fields.clone(),
            expanded: Vec::new(),
        }
    }

    fn cursor(&self, key: &PageKey, descriptor: &Descriptor, row: &dyn Record, backward: bool) -> String {
        let (list, values) = (list_text(descriptor, &self.order), self.values(row));
        // Whoever reads the list may look into its cursors.
        let shown = self.order.iter().all(|key| descriptor.fields[key.field].computed.is_none());
        let place = if shown && values.to_string().len() <= CURSOR_VALUES {
            values
        } else {
            let digest = key.digest(&list, &values.to_string());
            json!({"key": row.value(descriptor.key).to_json(), "digest": digest})
        };
        key.seal(&list, &json!([backward, place]).to_string())
    }

    /// The values by which a row is ordered.
    fn values(&self, row: &dyn Record) -> Json {
        self.order.iter().map(|key| row.value(key.field).to_json()).collect()
    }

    /// The key of the row that the page begins beside, where its values are not known.
    pub(crate) fn row_beside(&self) -> Option<&Value<'static>> {
        match &self.start {
            Start::BesideRow { key, .. } => Some(key),
            _ => None,
        }
    }

    /// Begins beside that row, as it is now. If its values are others than those that the cursor was made of, nothing
    /// tells where the page began, and rows would be repeated or skipped.
    ///
    /// # Errors
    /// 400 where the row has changed, or is not there any more.
    pub(crate) fn beside(mut self, descriptor: &Descriptor, row: Option<&dyn Record>) -> Result<Self, Error> {
        let Start::BesideRow { digest, backward, .. } = &self.start else { return Ok(self) };
        let is_known = |row: &&dyn Record| {
            let values = self.values(*row).to_string();
            let list = list_text(descriptor, &self.order);
            self.key.as_ref().is_some_and(|key| key.digest(&list, &values) == *digest)
        };
        let row = row.filter(is_known).ok_or_else(|| {
            let said = "The row at the end of that page has changed since, and its values could not be kept: begin the \
                        list anew.";
            Error::validation("cursor", said)
        })?;
        let values = self.order.iter().map(|key| row.value(key.field).into_owned()).collect();
        self.start = Start::Beside { values, backward: *backward };
        Ok(self)
    }
}

/// The names in a list of JSON, or in a text between commas.
pub(crate) fn names(json: &Json) -> Option<Vec<String>> {
    match json {
        Json::String(text) => {
            Some(text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
        }
        Json::Array(names) => names.iter().map(|name| name.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

fn parse_fields(view: &View<'_>, json: &Json) -> Result<Vec<usize>, Error> {
    let names = names(json).ok_or_else(|| Error::validation("fields", "Not a list of names."))?;
    crate::subscription::parse_fields(view, &Json::from(names))
}

/// Rows of a page, at most.
fn most_rows(descriptor: &Descriptor, limits: &Limits) -> usize {
    descriptor.lists.most_rows.map_or(limits.page_rows, |most| most.min(limits.page_rows))
}

fn rows_of_page(descriptor: &Descriptor, limits: &Limits, name: &str, json: &Json) -> Result<usize, Error> {
    let most = most_rows(descriptor, limits);
    whole_number(json)
        .and_then(|rows| usize::try_from(rows).ok())
        .filter(|rows| (1..=most).contains(rows))
        .ok_or_else(|| Error::validation(name, format!("A number from 1 to {most} is required.")))
}

fn whole_number(json: &Json) -> Option<u64> {
    match json {
        Json::Number(number) => number.as_u64(),
        Json::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}

fn not_of_this_list() -> Error {
    Error::validation("cursor", "Not a cursor of this list.")
}

/// What a cursor is of: a resource in an order.
fn list_text(descriptor: &Descriptor, order: &[OrderKey]) -> String {
    let names: Vec<String> = order
        .iter()
        .map(|key| format!("{}{}", if key.descending { "-" } else { "" }, descriptor.fields[key.field].name))
        .collect();
    format!("{}\0{}", descriptor.stream, names.join(","))
}

fn parse_order(view: &View<'_>, option: Option<&Json>) -> Result<Vec<OrderKey>, Error> {
    let descriptor = view.descriptor();
    let mut order: Vec<OrderKey> = Vec::new();
    let text = match option {
        None => "",
        Some(Json::String(text)) => text,
        Some(_) => return Err(Error::validation("ordering", "Not a valid string.")),
    };
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (descending, name) = match part.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, part),
        };
        let field = if name == "pk" { Some(descriptor.key) } else { view.field_index(name) };
        let Some(field) = field.filter(|field| descriptor.fields[*field].orderable) else {
            let choices: Vec<&str> =
                view.fields().filter(|field| field.orderable).map(|field| field.name).collect();
            return Err(Error::validation(
                "ordering",
                format!(
                    "{} is not a field to order by; the choices are {}.",
                    shown(name),
                    choices.join(", ")
                ),
            ));
        };
        if !order.iter().any(|key| key.field == field) {
            order.push(OrderKey { field, descending });
        }
    }
    // After the key nothing can be tied.
    if let Some(at) = order.iter().position(|key| key.field == descriptor.key) {
        order.truncate(at + 1);
    } else {
        order.push(OrderKey { field: descriptor.key, descending: false });
    }
    Ok(order)
}

fn parse_place(descriptor: &Descriptor, order: &[OrderKey], place: &[u8]) -> Option<Start> {
    let (backward, place): (bool, Json) = serde_json::from_slice(place).ok()?;
    let values = match place {
        Json::Array(values) if values.len() == order.len() => values,
        Json::Object(place) => {
            let key = parse_cursor_value(descriptor.key_field().kind, place.get("key")?)?;
            let digest = place.get("digest")?.as_str()?.to_owned();
            return Some(Start::BesideRow { key, digest, backward });
        }
        _ => return None,
    };
    let values = order
        .iter()
        .zip(&values)
        .map(|(key, json)| parse_cursor_value(descriptor.fields[key.field].kind, json))
        .collect::<Option<Vec<_>>>()?;
    Some(Start::Beside { values, backward })
}

/// A value that a row had. Unlike what a client names it is anything that a database can hold: a text with U+0000, a
/// year of five digits.
fn parse_cursor_value(kind: Kind, json: &Json) -> Option<Value<'static>> {
    match (kind, json) {
        (_, Json::Null) => Some(Value::Null),
        (Kind::Text, Json::String(text)) => Some(Value::Text(text.clone().into())),
        (Kind::Timestamp | Kind::NaiveTimestamp, Json::String(text)) => {
            text.parse().ok().map(Value::Timestamp)
        }
        (Kind::Date, Json::String(text)) => text.parse().ok().map(Value::Date),
        _ => filter::parse_key(kind, json),
    }
}
