//! A list, also of what the database cannot decide alone: then its statement lets too many rows through, in the list's
//! order, and each is decided in memory. So results, count and pages are those that a deciding database would give.

use std::ops::ControlFlow;

use crate::action::{Place, Refusal, Transaction, other_failure};
use crate::error::{Error, NON_FIELD_ERRORS};
use crate::list::{ListQuery, OrderKey, Page, Start};
use crate::resource::{Record, Row};
use crate::sql;
use crate::view::View;

/// Rows that are read at first, and at most, at a time. A page is often full early; but each chunk is a statement, which
/// may have to sort all rows.
const CHUNK_ROWS: std::ops::Range<usize> = 1_000..8_000;

/// Reads one page, and counts where that is asked for.
pub(crate) async fn page<T: Transaction>(
    transaction: &mut T,
    (tables, table): Place<'_, T::Backend>,
    query: &ListQuery,
) -> Result<Page, Refusal> {
    let place = (tables, table);
    for related in &query.related {
        if !sql::decides::<T::Backend>(&related.filter) {
            let message =
                format!("The database cannot decide this filter across {:?}.", related.relation.name);
            return Err(Error::validation(NON_FIELD_ERRORS, message).into());
        }
    }
    let descriptor = table.descriptor();
    let fail = |failure| other_failure(&View::from(descriptor), failure);
    if sql::decides::<T::Backend>(&query.filter) {
        let rows = transaction.rows(table, sql::select_page(place, query)?).await.map_err(fail)?;
        let count = if query.count {
            let number = transaction.number(sql::count(place, query)?).await.map_err(fail)?;
            Some(number.unsigned_abs())
        } else {
            None
        };
        return Ok(query.page(descriptor, rows, count));
    }
    let (mut rows, mut seen) = (Vec::new(), 0_u64);
    let Start::Offset(offset) = query.start else {
        // A count looks at all rows, also at those before the cursor. It comes first: if they are too many for it, no
        // page is to be answered either.
        let count = if query.count { Some(count(transaction, place, query).await?) } else { None };
        select(transaction, place, query, |row| {
            rows.push(row);
            if rows.len() > query.limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .await?;
        return Ok(query.page(descriptor, rows, count));
    };
    select(transaction, place, query, |row| {
        seen += 1;
        if seen > offset && rows.len() <= query.limit {
            rows.push(row);
        }
        if rows.len() > query.limit && !query.count {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .await?;
    Ok(query.page(descriptor, rows, query.count.then_some(seen)))
}

async fn count<T: Transaction>(
    transaction: &mut T,
    place: Place<'_, T::Backend>,
    query: &ListQuery,
) -> Result<u64, Refusal> {
    let order = vec![OrderKey { field: place.1.descriptor().key, descending: false }];
    let all = ListQuery { order, start: Start::Offset(0), ..query.clone() };
    let mut count = 0;
    select(transaction, place, &all, |_| {
        count += 1;
        ControlFlow::Continue(())
    })
    .await?;
    Ok(count)
}

/// Calls a function with each row that the filter selects, from where the page begins on, until it breaks off. An offset
/// is left to the function: it counts rows that are selected.
pub(crate) async fn select<T: Transaction>(
    transaction: &mut T,
    (tables, table): Place<'_, T::Backend>,
    query: &ListQuery,
    mut take: impl FnMut(Row) -> ControlFlow<()>,
) -> Result<(), Refusal> {
    let order = query.asked_order();
    let mut chunk = query.clone();
    if let Start::Offset(offset) = &mut chunk.start {
        *offset = 0;
    }
    let mut undecided = query.scanned_rows;
    let mut chunk_rows = CHUNK_ROWS.start;
    loop {
        // The statement asks for one row more.
        chunk.limit = chunk_rows.min(undecided);
        chunk_rows = CHUNK_ROWS.end.min(chunk_rows * 2);
        let rows = transaction
            .rows(table, sql::select_page((tables, table), &chunk)?)
            .await
            .map_err(|failure| other_failure(&View::from(table.descriptor()), failure))?;
        let is_last = rows.len() <= chunk.limit;
        let backward = matches!(chunk.start, Start::Beside { backward: true, .. });
        if let Some(row) = rows.last() {
            chunk.start = Start::Beside { values: position(row.as_ref(), &order), backward };
        }
        for row in rows {
            if undecided == 0 {
                return Err(too_many(query.scanned_rows).into());
            }
            undecided -= 1;
            if query.filter.matches(row.as_ref()) && take(row).is_break() {
                return Ok(());
            }
        }
        if is_last {
            return Ok(());
        }
    }
}

fn position(row: &dyn Record, order: &[OrderKey]) -> Vec<crate::value::Value<'static>> {
    order.iter().map(|key| row.value(key.field).into_owned()).collect()
}

fn too_many(limit: usize) -> Error {
    let message = format!(
        "The database cannot decide this filter, and at most {limit} rows are decided one by one (limit \
         scanned_rows): add lookups that leave fewer."
    );
    Error::validation(NON_FIELD_ERRORS, message)
}
