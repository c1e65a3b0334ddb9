//! Constraints that are asked at the commit only: `DEFERRABLE INITIALLY DEFERRED`. Which of a transaction's requests its
//! commit is refused for, and what is answered then, as if the constraint had been asked at once.

use crate::action::{self, Constraint, Failure, Refusal, Request, Transaction};
use crate::context::Context;
use crate::error::{Code, Error};
use crate::filter::Filter;
use crate::resource::Row;
use crate::sql::{self, Table};
use crate::value::Value;

/// A row that a request has written or removed.
#[derive(Clone, Debug)]
pub struct Touched {
    /// Of which resource, by its place.
    pub table: usize,
    /// Which one.
    pub key: Value<'static>,
}

/// The place of the request that a commit is refused for, and its answer. `touched` is what each of the requests has
/// written. The transaction must be open, and everything in it that was: a row refers to what the same transaction has
/// written too.
pub async fn refused<T: Transaction>(
    transaction: &mut T,
    tables: &[Table<T::Backend>],
    (requests, touched): (&[Request], &[Vec<Touched>]),
    context: &Context<'_>,
    failure: Failure,
) -> (usize, Refusal) {
    let written = touched.iter().enumerate().flat_map(|(at, rows)| rows.iter().map(move |row| (at, row)));
    let mut search = Search { transaction, tables, context, written: written.collect() };
    let found = match failure {
        Failure::ForeignKey => search.reference().await,
        Failure::Unique(Constraint::Of(columns)) => search.duplicate(None, columns).await,
        Failure::Unique(Constraint::OfTable(named, columns)) => search.duplicate(Some(named), columns).await,
        failure => search.last(failure).await,
    };
    let (at, refusal) = found.unwrap_or_else(|refusal| (0, refusal));
    match requests.get(at).and_then(|request| Some((request, tables.get(request.resource.0)?))) {
        Some((request, table)) => (at, table.map_refusal(refusal, request.operation.action(), context)),
        None => (at, refusal),
    }
}

/// A row is gone that others still refer to.
pub(crate) fn still_referred_to() -> Error {
    Error::new(Code::Conflict, "Other objects still refer to this one.")
}

/// A constraint of which nothing more is known.
pub fn constraint() -> Error {
    Error::new(Code::Conflict, "A constraint of the database refuses the change.")
}

/// What is looked through, in the order in which it was written.
struct Search<'a, T: Transaction> {
    transaction: &'a mut T,
    tables: &'a [Table<T::Backend>],
    context: &'a Context<'a>,
    written: Vec<(usize, &'a Touched)>,
}

/// What was found: the place of a request, and its answer.
type Found = Result<(usize, Refusal), Refusal>;

impl<T: Transaction> Search<'_, T> {
    async fn stored(&mut self, row: &Touched) -> Result<Option<Row>, Refusal> {
        action::find(self.transaction, &self.tables[row.table], &row.key, &Filter::all(), false).await
    }

    /// A row that refers to nothing; otherwise one that is gone and that others refer to.
    async fn reference(&mut self) -> Found {
        let mut removed = Vec::new();
        for (at, row) in self.written.clone() {
            let table = self.tables[row.table];
            let Some(stored) = self.stored(row).await? else {
                removed.push((at, row));
                continue;
            };
            let view = table.descriptor().seen_by(self.context.principal);
            let values = values(&table, &stored);
            let missing =
                action::missing_references(self.transaction, &table, &view, (&values, None)).await?;
            if let Some(error) = missing {
                return Ok((at, error.seen_through(&view).into()));
            }
        }
        for (at, row) in &removed {
            if self.is_referred_to(row).await? {
                return Ok((*at, still_referred_to().into()));
            }
        }
        // By other columns than the key, or by what a statement of a hook has written.
        Ok(match (removed.last(), self.written.last()) {
            (Some((at, _)), _) => (*at, still_referred_to().into()),
            (None, Some((at, _))) => (*at, action::missing_object().into()),
            (None, None) => (0, constraint().into()),
        })
    }

    /// Does another row refer to one that is gone, by its key?
    async fn is_referred_to(&mut self, gone: &Touched) -> Result<bool, Refusal> {
        let table = self.tables[gone.table];
        let descriptor = table.descriptor();
        let fail = |failure| action::other_failure(&descriptor.seen_by(self.context.principal), failure);
        for reference in self.transaction.foreign_keys_to(descriptor.table).await.map_err(fail)? {
            // What it had in other columns is not known any more.
            let [(column, referenced)] = &reference.columns[..] else { continue };
            if referenced != descriptor.fields[descriptor.key].column {
                continue;
            }
            let column = vec![(column.clone(), descriptor.key, &gone.key)];
            let referring = sql::count_with(&table, reference.table, column)?;
            if self.transaction.number(referring).await.map_err(fail)? > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The last row, of the table of this name, whose values in the columns another one has too.
    async fn duplicate(&mut self, named: Option<String>, columns: Vec<String>) -> Found {
        let mut fitting = None;
        for (at, row) in self.written.clone().into_iter().rev() {
            let table = self.tables[row.table];
            let descriptor = table.descriptor();
            if let Some(named) = &named {
                let is_it = self.transaction.is_of_table(named, descriptor.table).await;
                let view = descriptor.seen_by(self.context.principal);
                if !is_it.map_err(|failure| action::other_failure(&view, failure))? {
                    continue;
                }
            }
            let fields = columns
                .iter()
                .map(|column| descriptor.fields.iter().position(|field| field.column == column))
                .collect::<Option<Vec<usize>>>();
            let Some(fields) = fields.filter(|fields| !fields.is_empty()) else { continue };
            fitting.get_or_insert((at, row));
            let Some(stored) = self.stored(row).await? else { continue };
            let values = values(&table, &stored);
            let equal = fields
                .iter()
                .map(|field| (descriptor.fields[*field].column.to_owned(), *field, &values[*field].1));
            let equal = sql::count_with(&table, descriptor.table.to_owned(), equal.collect())?;
            let view = descriptor.seen_by(self.context.principal);
            let count = self.transaction.number(equal).await;
            if count.map_err(|failure| action::other_failure(&view, failure))? > 1 {
                return Ok((at, action::explain(&view, Failure::Unique(Constraint::Of(columns))).into()));
            }
        }
        // An exclusion, or of columns that the resource does not have, or of a table that is none's.
        let columns = if fitting.is_some() { columns } else { Vec::new() };
        let Some((at, row)) = fitting.or_else(|| self.written.last().copied()) else {
            return Ok((0, constraint().into()));
        };
        let view = self.tables[row.table].descriptor().seen_by(self.context.principal);
        Ok((at, action::explain(&view, Failure::Unique(Constraint::Of(columns))).into()))
    }

    /// Anything else, which a trigger has to say: of what was written last.
    async fn last(&mut self, failure: Failure) -> Found {
        let last = self.written.last().copied();
        let Some((at, row)) = last else {
            return Ok(match failure {
                Failure::Unavailable(source) => (0, Refusal::Unavailable(source)),
                Failure::Fault(source) => (0, Refusal::Fault(source)),
                _ => (0, constraint().into()),
            });
        };
        let table = self.tables[row.table];
        let values = match self.stored(row).await? {
            Some(stored) => values(&table, &stored),
            None => Vec::new(),
        };
        let refusal =
            action::write_failure(self.transaction, &table, (&values, None), self.context, failure).await;
        Ok((at, refusal))
    }
}

/// All values of a row, by field.
fn values<DB: diesel::backend::Backend + 'static>(
    table: &Table<DB>,
    row: &Row,
) -> Vec<(usize, Value<'static>)> {
    (0..table.descriptor().fields.len()).map(|field| (field, row.value(field).into_owned())).collect()
}
