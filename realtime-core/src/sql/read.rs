//! Reading rows.

use super::predicate::write_predicate;
use super::{Dialect, NotOfItsType, Statement, Table};
use crate::action::Place;
use crate::filter::{Filter, Term};
use crate::list::{ListQuery, OrderKey, Start};
use crate::related::Related;
use crate::value::Value;

fn select<DB: Dialect>(table: &Table<DB>) -> Statement<DB> {
    let mut statement = Statement::new("SELECT ");
    table.write_columns(&mut statement);
    statement.sql(" FROM ").identifier(table.descriptor.table);
    statement
}

/// The row with a key, if the filter selects it.
pub(crate) fn select_by_key<DB: Dialect>(
    table: &Table<DB>,
    key: &Value<'static>,
    among: &Filter,
) -> Result<Statement<DB>, NotOfItsType> {
    let mut statement = select(table);
    statement.sql(" WHERE ");
    DB::write_key_condition(&mut statement, table, key)?;
    if !among.is_all() {
        statement.sql(" AND ");
        write_terms(&mut statement, table, among)?;
        statement.varies();
    }
    Ok(statement)
}

/// The rows of a filter.
pub(crate) fn select_among<DB: Dialect>(
    table: &Table<DB>,
    among: &Filter,
) -> Result<Statement<DB>, NotOfItsType> {
    let mut statement = select(table);
    if !among.is_all() {
        statement.sql(" WHERE ");
        write_terms(&mut statement, table, among)?;
    }
    statement.varies();
    Ok(statement)
}

/// One page, and one row more to see whether there is another.
pub(crate) fn select_page<DB: Dialect>(
    (tables, table): Place<'_, DB>,
    query: &ListQuery,
) -> Result<Statement<DB>, NotOfItsType> {
    let order = query.asked_order();
    let mut statement = select(table);
    write_where(&mut statement, (tables, table), query)?;
    if let Start::Beside { values, .. } = &query.start {
        let is_first = query.filter.is_all() && query.related.is_empty();
        statement.sql(if is_first { " WHERE " } else { " AND " });
        write_after(&mut statement, table, &order, values)?;
    }
    statement.sql(" ORDER BY ");
    for (at, key) in order.iter().enumerate() {
        if at > 0 {
            statement.sql(", ");
        }
        DB::write_comparable(&mut statement, table, key.field);
        statement.sql(match (key.descending, table.descriptor.fields[key.field].nullable) {
            (false, false) => " ASC",
            (true, false) => " DESC",
            (false, true) => " ASC NULLS LAST",
            (true, true) => " DESC NULLS FIRST",
        });
    }
    statement.sql(" LIMIT ");
    DB::write_number(&mut statement, i64::try_from(query.limit).unwrap_or(i64::MAX).saturating_add(1));
    if let Start::Offset(offset) = query.start {
        statement.sql(" OFFSET ");
        DB::write_number(&mut statement, i64::try_from(offset).unwrap_or(i64::MAX));
    }
    Ok(statement)
}

/// One row of each group that has rows which a filter selects, and one more than the limit where there are more groups.
pub(crate) fn select_row_groups<DB: Dialect>(
    table: &Table<DB>,
    filter: &Filter,
    limit: usize,
) -> Result<Statement<DB>, NotOfItsType> {
    let mut statement = Statement::new("SELECT ");
    table.write_columns(&mut statement);
    statement.sql(" FROM (SELECT ");
    table.write_columns(&mut statement);
    statement.sql(", row_number() OVER (PARTITION BY ");
    for (at, field) in table.descriptor.group_by.iter().enumerate() {
        if at > 0 {
            statement.sql(", ");
        }
        DB::write_comparable(&mut statement, table, *field);
    }
    statement.sql(") AS realtime_nth FROM ").identifier(table.descriptor.table);
    let whole = ListQuery::whole(table.descriptor, filter.clone(), limit);
    write_where(&mut statement, (std::slice::from_ref(table), table), &whole)?;
    statement.sql(") AS realtime_rows WHERE realtime_nth = 1 LIMIT ");
    DB::write_number(&mut statement, i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1));
    Ok(statement)
}

/// The number of all rows of a list.
pub(crate) fn count<DB: Dialect>(
    (tables, table): Place<'_, DB>,
    query: &ListQuery,
) -> Result<Statement<DB>, NotOfItsType> {
    let mut statement = Statement::new("SELECT count(*) FROM ");
    statement.identifier(table.descriptor.table);
    write_where(&mut statement, (tables, table), query)?;
    Ok(statement)
}

/// The number of rows of a table, of another one too, whose columns have values of our fields.
pub(crate) fn count_with<DB: Dialect>(
    table: &Table<DB>,
    other: String,
    columns: Vec<(String, usize, &Value<'static>)>,
) -> Result<Statement<DB>, NotOfItsType> {
    let mut statement = Statement::new("SELECT count(*) FROM ");
    statement.identifier(other);
    for (at, (column, field, value)) in columns.into_iter().enumerate() {
        statement.sql(if at == 0 { " WHERE " } else { " AND " }).identifier(column).sql(" = ");
        table.write_value(&mut statement, field, value)?;
    }
    Ok(statement)
}

/// Can the database decide the filter? Otherwise its condition lets rows through that have to be decided in memory.
pub(crate) fn decides<DB: Dialect>(filter: &Filter) -> bool {
    filter.terms().iter().all(|term| match term {
        Term::Is(predicate) => DB::decides(&predicate.condition),
        Term::Any(filters) => filters.iter().all(decides::<DB>),
    })
}

/// The condition of a list's rows, wherever it begins.
fn write_where<DB: Dialect>(
    statement: &mut Statement<DB>,
    (tables, table): Place<'_, DB>,
    query: &ListQuery,
) -> Result<(), NotOfItsType> {
    let filter = &query.filter;
    if filter.is_all() && query.related.is_empty() {
        return Ok(());
    }
    statement.sql(" WHERE ");
    if !filter.is_all() {
        write_terms(statement, table, filter)?;
    }
    for (at, related) in query.related.iter().enumerate() {
        if at > 0 || !filter.is_all() {
            statement.sql(" AND ");
        }
        write_related(statement, (tables, table), related)?;
    }
    // The text depends on the client's choice of lookups and list lengths: caching it would let him fill memory.
    statement.varies();
    Ok(())
}

/// The condition that a row's foreign key leads to a row that a filter selects, or, negated, that it does not.
fn write_related<DB: Dialect>(
    statement: &mut Statement<DB>,
    (tables, table): Place<'_, DB>,
    related: &Related,
) -> Result<(), NotOfItsType> {
    let target = (related.relation.target)();
    let Some(other) = tables.iter().find(|other| other.descriptor.stream == target.stream) else {
        // Starting has looked that it is there.
        statement.sql("1 = 0");
        return Ok(());
    };
    if related.negated {
        statement.sql("(");
        table.write_column(statement, related.relation.field);
        statement.sql(" IS NULL OR NOT ");
    }
    table.write_column(statement, related.relation.field);
    // Names inside are those of the other table: it comes first.
    statement.sql(" IN (SELECT ");
    other.write_column(statement, target.key);
    statement.sql(" FROM ").identifier(target.table);
    if !related.filter.is_all() {
        statement.sql(" WHERE ");
        write_terms(statement, other, &related.filter)?;
    }
    statement.sql(if related.negated { "))" } else { ")" });
    Ok(())
}

/// The condition that a row satisfies a filter that has terms. `NULL` is as good as false in every place of it.
fn write_terms<DB: Dialect>(
    statement: &mut Statement<DB>,
    table: &Table<DB>,
    filter: &Filter,
) -> Result<(), NotOfItsType> {
    for (at, term) in filter.terms().iter().enumerate() {
        if at > 0 {
            statement.sql(" AND ");
        }
        match term {
            Term::Is(predicate) => write_predicate(statement, table, predicate)?,
            Term::Any(filters) if filters.is_empty() => {
                statement.sql("1 = 0");
            }
            Term::Any(filters) => write_alternatives(statement, table, filters)?,
        }
    }
    Ok(())
}

/// The condition that a row satisfies one of the filters. In halves: SQLite refuses expressions that are 1,000 deep.
fn write_alternatives<DB: Dialect>(
    statement: &mut Statement<DB>,
    table: &Table<DB>,
    filters: &[Filter],
) -> Result<(), NotOfItsType> {
    statement.sql("(");
    match filters {
        [filter] => write_terms(statement, table, filter)?,
        _ => {
            let (first, second) = filters.split_at(filters.len() / 2);
            write_alternatives(statement, table, first)?;
            statement.sql(" OR ");
            write_alternatives(statement, table, second)?;
        }
    }
    statement.sql(")");
    Ok(())
}

/// The rows after the one with the given values: greater in the first key, or equal in it and greater in the second …
fn write_after<DB: Dialect>(
    statement: &mut Statement<DB>,
    table: &Table<DB>,
    order: &[OrderKey],
    values: &[Value<'static>],
) -> Result<(), NotOfItsType> {
    if let ([first, _, ..], [value, ..]) = (order, values)
        && !value.is_null()
        && (first.descending || !table.descriptor.fields[first.field].nullable)
    {
        // What follows says as much, but no database looks into the index of the first key for it.
        DB::write_comparable(statement, table, first.field);
        statement.sql(if first.descending { " <= " } else { " >= " });
        DB::write_operand(statement, table, first.field, value)?;
        statement.sql(" AND ");
    }
    statement.sql("(");
    for (at, (key, value)) in order.iter().zip(values).enumerate() {
        if at > 0 {
            statement.sql(" OR ");
        }
        statement.sql("(");
        for (equal, value) in order[..at].iter().zip(values) {
            DB::write_comparable(statement, table, equal.field);
            if value.is_null() {
                statement.sql(" IS NULL");
            } else {
                statement.sql(" = ");
                DB::write_operand(statement, table, equal.field, value)?;
            }
            statement.sql(" AND ");
        }
        write_beyond(statement, table, *key, value)?;
        statement.sql(")");
    }
    statement.sql(")");
    statement.varies();
    Ok(())
}

fn write_beyond<DB: Dialect>(
    statement: &mut Statement<DB>,
    table: &Table<DB>,
    key: OrderKey,
    value: &Value<'static>,
) -> Result<(), NotOfItsType> {
    match (value.is_null(), key.descending) {
        // `NULL` is last: nothing is after it.
        (true, false) => {
            statement.sql("1 = 0");
        }
        // `NULL` is first: everything else is after it.
        (true, true) => {
            DB::write_comparable(statement, table, key.field);
            statement.sql(" IS NOT NULL");
        }
        (false, descending) => {
            statement.sql("(");
            DB::write_comparable(statement, table, key.field);
            statement.sql(if descending { " < " } else { " > " });
            DB::write_operand(statement, table, key.field, value)?;
            if !descending && table.descriptor.fields[key.field].nullable {
                statement.sql(" OR ");
                DB::write_comparable(statement, table, key.field);
                statement.sql(" IS NULL");
            }
            statement.sql(")");
        }
    }
    Ok(())
}
