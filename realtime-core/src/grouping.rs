//! `group_by`: subscriptions to whole row groups, such as all comments of a topic, whichever of them are asked for.
//!
//! Such a subscription is one like any other, to the filter that selects the groups: so a row that moves from one group
//! to another leaves here and comes in there.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::action::{Refusal, Transaction, other_failure};
use crate::error::{Error, NON_FIELD_ERRORS};
use crate::filter::{self, Condition, Filter, Predicate};
use crate::limits::Limits;
use crate::list::ListQuery;
use crate::resource::{Descriptor, Record};
use crate::scan;
use crate::sql::{self, Table};
use crate::value::Value;
use crate::view::View;

/// Asks which row groups have rows that a filter selects.
#[derive(Clone, Debug)]
pub struct RowGroupsQuery {
    filter: Filter,
    /// Groups, at most.
    limit: usize,
    /// The limit of that name.
    scanned_rows: usize,
}

/// What a subscription to a resource with `group_by` is about.
pub(crate) enum RowGroups {
    /// Those that its filter names.
    Named(Filter),
    /// Those of the rows that it selects, which have to be looked for.
    OfRows(RowGroupsQuery),
}

impl RowGroups {
    /// The row groups that a filter asks for; `None` where the resource has none.
    pub(crate) fn of(descriptor: &Descriptor, filter: &Filter, limits: &Limits) -> Option<Self> {
        let group_by = descriptor.group_by;
        if group_by.is_empty() {
            return None;
        }
        let names = |predicate: &Predicate| {
            let is_value = matches!(predicate.condition, Condition::OneOf(_) | Condition::IsNull(true));
            is_value && !predicate.negated && predicate.part.is_none() && group_by.contains(&predicate.field)
        };
        let named: Vec<Predicate> =
            filter.predicates().filter(|predicate| names(predicate)).cloned().collect();
        if group_by.iter().all(|field| named.iter().any(|predicate| predicate.field == *field)) {
            return Some(Self::Named(Filter::new(descriptor, named)));
        }
        Some(Self::OfRows(RowGroupsQuery {
            filter: filter.clone(),
            limit: limits.filter_list,
            scanned_rows: limits.scanned_rows,
        }))
    }
}

/// The filter that selects the groups of the rows that exist for somebody and that a query selects.
pub(crate) async fn find<T: Transaction>(
    transaction: &mut T,
    table: &Table<T::Backend>,
    query: &RowGroupsQuery,
    visible: Filter,
) -> Result<Filter, Refusal> {
    let descriptor = table.descriptor();
    let filter = query.filter.clone().and(descriptor, visible);
    let mut found = Found::default();
    if sql::decides::<T::Backend>(&filter) {
        let statement = sql::select_row_groups(table, &filter, query.limit)?;
        let rows = transaction.rows(table, statement).await;
        for row in rows.map_err(|failure| other_failure(&View::from(descriptor), failure))? {
            found.add(descriptor, row.as_ref());
        }
    } else {
        let scanned_rows = query.scanned_rows;
        let rows = ListQuery { scanned_rows, ..ListQuery::whole(descriptor, filter, 1) };
        scan::select(transaction, (std::slice::from_ref(table), table), &rows, |row| {
            found.add(descriptor, row.as_ref());
            if found.0.len() > query.limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .await?;
    }
    if found.0.len() > query.limit {
        return Err(too_many(descriptor, query.limit).into());
    }
    Ok(found.into_filter(descriptor))
}

fn too_many(descriptor: &Descriptor, limit: usize) -> Error {
    let names: Vec<&str> = descriptor.group_by.iter().map(|field| descriptor.fields[*field].name).collect();
    let message = format!(
        "A subscription to this stream is to at most {limit} values of {} (limit filter_list): name them, or add \
         lookups that leave fewer.",
        names.join(", ")
    );
    Error::validation(NON_FIELD_ERRORS, message)
}

/// Row groups, each once: what their rows have in the fields that make them, by the filter that selects them.
#[derive(Default)]
struct Found(BTreeMap<String, (Vec<Value<'static>>, Filter)>);

impl Found {
    fn add(&mut self, descriptor: &Descriptor, row: &dyn Record) {
        let values: Vec<Value<'static>> =
            descriptor.group_by.iter().map(|field| row.value(*field).into_owned()).collect();
        let predicates = descriptor.group_by.iter().zip(&values).map(|(field, value)| {
            let condition = match value {
                Value::Null => Condition::IsNull(true),
                value => filter::one_of(vec![value.clone()]),
            };
            Predicate::of(*field, condition)
        });
        let filter = Filter::new(descriptor, predicates.collect());
        self.0.insert(filter.canonical().to_owned(), (values, filter));
    }

    /// For one field this is its `in`, as a client would write it, so that both are one group.
    fn into_filter(self, descriptor: &Descriptor) -> Filter {
        let [field] = descriptor.group_by else {
            return Filter::any(descriptor, self.0.into_values().map(|(_, filter)| filter));
        };
        let values = self.0.into_values().flat_map(|(values, _)| values);
        let (null, values): (Vec<_>, Vec<_>) = values.partition(Value::is_null);
        let is = |condition| Filter::new(descriptor, vec![Predicate::of(*field, condition)]);
        match (null.is_empty(), values.is_empty()) {
            (true, _) => is(filter::one_of(values)),
            (false, true) => is(Condition::IsNull(true)),
            (false, false) => is(filter::one_of(values)).or(descriptor, is(Condition::IsNull(true))),
        }
    }
}
