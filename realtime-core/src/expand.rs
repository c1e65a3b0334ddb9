//! `expand`: the rows that foreign keys lead to, beside those that have the keys.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::Value as Json;

use crate::action::{Refusal, Transaction};
use crate::context::Context;
use crate::error::{Error, shown};
use crate::filter::{Filter, Predicate, one_of};
use crate::list::{ListQuery, Page};
use crate::resource::{Action, Record, Relation, Row};
use crate::scan;
use crate::sql::Table;
use crate::value::Value;
use crate::view::View;

/// The rows that one relation leads to from the rows of a page.
#[derive(Clone, Debug)]
pub struct Expanded {
    name: &'static str,
    field: usize,
    /// As JSON, by the key as JSON.
    objects: HashMap<String, String>,
}

impl Expanded {
    /// Appends the member: the object, or `null` where there is none, or none that exists for the caller.
    pub(crate) fn write(&self, row: &dyn Record, out: &mut String) {
        let object = self.objects.get(&text_of(&row.value(self.field)));
        let _ = write!(out, r#","{}":{}"#, self.name, object.map_or("null", String::as_str));
    }
}

fn text_of(value: &Value<'_>) -> String {
    let mut text = String::new();
    value.write_json(&mut text);
    text
}

/// The relations that a request names.
///
/// # Errors
/// 400 where one is none of the resource's, with the choices.
pub(crate) fn parse(view: &View<'_>, json: &Json) -> Result<Vec<&'static Relation>, Error> {
    let names =
        crate::list::names(json).ok_or_else(|| Error::validation("expand", "Not a list of names."))?;
    let relations = || view.descriptor().lists.relations.iter().filter(|relation| view.shows(relation.field));
    let mut found: Vec<&'static Relation> = Vec::new();
    for name in names {
        let Some(relation) = relations().find(|relation| relation.name == name) else {
            let choices: Vec<&str> = relations().map(|relation| relation.name).collect();
            let message = match choices.as_slice() {
                [] => "This stream has nothing to expand.".to_owned(),
                choices => {
                    format!("{} cannot be expanded; the choices are {}.", shown(&name), choices.join(", "))
                }
            };
            return Err(Error::validation("expand", message));
        };
        if !found.iter().any(|known| known.name == relation.name) {
            found.push(relation);
        }
    }
    Ok(found)
}

/// Reads the rows that a relation leads to from the rows of a page, with one statement. Those that the caller may not
/// see or retrieve are not among them.
pub(crate) async fn read<T: Transaction>(
    transaction: &mut T,
    tables: &[Table<T::Backend>],
    relation: &'static Relation,
    page: &Page,
    context: &Context<'_>,
) -> Result<Expanded, Refusal> {
    let target = (relation.target)();
    let mut expanded = Expanded { name: relation.name, field: relation.field, objects: HashMap::new() };
    let values = page.rows.iter().map(|row| row.value(relation.field).into_owned());
    let values: Vec<Value<'static>> = values.filter(|value| !value.is_null()).collect();
    let principal = context.principal;
    if values.is_empty() || target.rules.admit(principal, Action::Retrieve).is_err() {
        return Ok(expanded);
    }
    let table = tables
        .iter()
        .find(|table| table.descriptor().stream == target.stream)
        .ok_or_else(|| Refusal::Fault("a relation leads to a resource that is not mounted".into()))?;
    let named = Predicate::of(target.key, one_of(values));
    let among = Filter::new(target, vec![named]).and(target, target.rules.visible(principal));
    let found =
        scan::page(transaction, (tables, table), &ListQuery::whole(target, among, page.rows.len())).await?;
    let is_his = |row: &&Row| target.rules.admit_to(principal, Action::Retrieve, row.as_ref()).is_ok();
    let view = target.seen_by(principal);
    for row in found.rows.iter().filter(is_his) {
        let object = crate::encode::object(view.clone(), row.as_ref());
        expanded.objects.insert(text_of(&row.value(target.key)), object);
    }
    Ok(expanded)
}
