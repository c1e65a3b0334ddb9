//! An open PostgreSQL transaction, as actions see it.

use diesel::pg::Pg;
use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error as DieselError, QueryResult};
use diesel::sql_types::{BigInt, Integer, Text};
use diesel_async::{AsyncConnectionCore as _, AsyncPgConnection, SimpleAsyncConnection as _};
use realtime_core::__private::read;
use realtime_core::action::{Constraint, Failure, ForeignKey, Size, Transaction};
use realtime_core::commit::Touched;
use realtime_core::sql::{Statement, Table};
use realtime_core::{AfterCommit, Columns, Row};

use super::connection::load;

pub(super) struct PgTransaction<'a> {
    connection: &'a mut AsyncPgConnection,
    /// A statement has failed: PostgreSQL takes no other one in the transaction.
    failed: bool,
    /// Is it a savepoint in the application's own transaction? Then that is what a failure goes back to.
    nested: bool,
    after_commit: Vec<AfterCommit>,
    touched: Vec<Touched>,
}

/// The savepoint of a request in a transaction of the application's.
pub(super) const SAVEPOINT: &str = "realtime_request";

impl<'a> PgTransaction<'a> {
    pub(super) fn new(connection: &'a mut AsyncPgConnection) -> Self {
        Self { connection, failed: false, nested: false, after_commit: Vec::new(), touched: Vec::new() }
    }

    /// One that is a savepoint, which whoever calls has made.
    pub(super) fn nested(connection: &'a mut AsyncPgConnection) -> Self {
        Self { nested: true, ..Self::new(connection) }
    }

    /// One whose last statement, after the savepoint, has failed.
    pub(super) fn nested_and_failed(connection: &'a mut AsyncPgConnection) -> Self {
        Self { failed: true, ..Self::nested(connection) }
    }

    /// What is to be done once the transaction is committed, and which rows it has written.
    pub(super) fn into_parts(self) -> (Vec<AfterCommit>, Vec<Touched>) {
        (self.after_commit, self.touched)
    }

    async fn load<T>(
        &mut self,
        statement: Statement<Pg>,
        read: impl Fn(&dyn Columns<Pg>) -> diesel::deserialize::Result<T>,
    ) -> Result<Vec<T>, Failure> {
        self.go_on().await.map_err(failure_of)?;
        let loaded = load(self.connection, statement, read).await;
        self.failed = loaded.is_err();
        loaded.map_err(failure_of)
    }

    /// The foreign keys of which a column of `pg_constraint` is the table.
    async fn foreign_keys_where(
        &mut self,
        column: &'static str,
        table: &str,
    ) -> Result<Vec<ForeignKey>, Failure> {
        let mut statement = Statement::new(
            "SELECT c.oid::text, r.relname::text, f.relname::text, a.attname::text, b.attname::text \
             FROM pg_constraint c \
             CROSS JOIN LATERAL unnest(c.conkey, c.confkey) WITH ORDINALITY AS k (own, other, place) \
             JOIN pg_class r ON r.oid = c.conrelid \
             JOIN pg_class f ON f.oid = c.confrelid \
             JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.own \
             JOIN pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = k.other \
             WHERE c.contype = 'f' AND pg_table_is_visible(r.oid) AND pg_table_is_visible(f.oid) \
             AND NOT EXISTS (SELECT FROM pg_constraint p WHERE p.oid = c.conparentid AND p.conrelid = c.conrelid) AND ",
        );
        // One to a partitioned table is in the catalog once more for each partition: that is what is left out.
        statement.sql(column).sql(" = to_regclass(quote_ident(");
        statement.bind::<Text, _>(table.to_owned()).sql(")) ORDER BY c.oid, k.place");
        let name = |columns: &dyn Columns<Pg>, at| read::<String, Text, Pg>(columns, at);
        let columns = self.load(statement, |columns| {
            let (table, referenced) = (name(columns, 1)?, name(columns, 2)?);
            let column = (name(columns, 3)?, name(columns, 4)?);
            Ok((name(columns, 0)?, ForeignKey { table, referenced, columns: vec![column] }))
        });
        Ok(ForeignKey::of_columns(columns.await?))
    }

    /// What comes after a failure only looks for its reason, so it may do so in another transaction; a savepoint before
    /// each statement would cost all those that succeed.
    async fn go_on(&mut self) -> QueryResult<()> {
        if std::mem::take(&mut self.failed) {
            if self.nested {
                self.connection.batch_execute(&format!("ROLLBACK TO SAVEPOINT {SAVEPOINT}")).await?;
            } else {
                self.connection.batch_execute("ROLLBACK; BEGIN READ ONLY").await?;
            }
        }
        Ok(())
    }
}

impl Transaction for PgTransaction<'_> {
    type Backend = Pg;

    async fn rows(&mut self, table: &Table<Pg>, statement: Statement<Pg>) -> Result<Vec<Row>, Failure> {
        let at: Vec<usize> = (0..table.descriptor().fields.len()).collect();
        self.load(statement, |columns| table.decode(columns, &at)).await
    }

    async fn number(&mut self, statement: Statement<Pg>) -> Result<i64, Failure> {
        let numbers = self.load(statement, |columns| read::<i64, BigInt, Pg>(columns, 0)).await?;
        numbers.first().copied().ok_or_else(|| failure_of(DieselError::NotFound))
    }

    async fn texts(&mut self, statement: Statement<Pg>) -> Result<Vec<String>, Failure> {
        self.load(statement, |columns| read::<String, Text, Pg>(columns, 0)).await
    }

    fn after_commit(&mut self, work: AfterCommit) {
        self.after_commit.push(work);
    }

    fn touched(&mut self, row: Touched) {
        self.touched.push(row);
    }

    async fn execute(&mut self, statement: Statement<Pg>) -> Result<usize, Failure> {
        self.go_on().await.map_err(failure_of)?;
        let executed = self.connection.execute_returning_count(statement).await;
        self.failed = executed.is_err();
        executed.map_err(failure_of)
    }

    async fn foreign_keys(&mut self, table: &str) -> Result<Vec<ForeignKey>, Failure> {
        self.foreign_keys_where("c.conrelid", table).await
    }

    async fn foreign_keys_to(&mut self, table: &str) -> Result<Vec<ForeignKey>, Failure> {
        self.foreign_keys_where("c.confrelid", table).await
    }

    async fn constraint(&mut self, table: &str, name: &str) -> Result<Option<String>, Failure> {
        let mut statement =
            Statement::new("SELECT pg_get_constraintdef(c.oid) FROM pg_constraint c WHERE c.conname = ");
        statement.bind::<Text, _>(name.to_owned());
        statement.sql(" AND c.conrelid = to_regclass(quote_ident(");
        statement.bind::<Text, _>(table.to_owned()).sql("))");
        let found = self.load(statement, |columns| read::<String, Text, Pg>(columns, 0)).await?;
        Ok(found.into_iter().next())
    }

    /// A partition has a name of its own.
    async fn is_of_table(&mut self, named: &str, table: &str) -> Result<bool, Failure> {
        if named == table {
            return Ok(true);
        }
        let mut statement =
            Statement::new("SELECT c.relname::text FROM pg_partition_tree(to_regclass(quote_ident(");
        statement.bind::<Text, _>(table.to_owned());
        statement.sql("))) t JOIN pg_class c ON c.oid = t.relid WHERE c.relname = ");
        statement.bind::<Text, _>(named.to_owned());
        let parts = self.load(statement, |columns| read::<String, Text, Pg>(columns, 0)).await?;
        Ok(!parts.is_empty())
    }

    async fn sizes(&mut self, table: &str) -> Result<Vec<Size>, Failure> {
        // The modifier of `varchar(n)` and `char(n)` is n + 4, that of `numeric(d, p)` d << 16 | p, and 4 more.
        let mut statement = Statement::new(
            "SELECT a.attname::text, a.atttypmod - 4, CASE a.atttypid WHEN 1700 THEN 1 ELSE 0 END FROM pg_attribute a \
             WHERE a.attnum > 0 AND NOT a.attisdropped AND a.atttypmod > 4 AND a.atttypid IN (1042, 1043, 1700) \
             AND a.attrelid = to_regclass(quote_ident(",
        );
        statement.bind::<Text, _>(table.to_owned()).sql(")) ORDER BY a.attnum");
        self.load(statement, |columns| {
            let modifier = read::<i32, Integer, Pg>(columns, 1)?.unsigned_abs();
            let is_number = read::<i32, Integer, Pg>(columns, 2)? == 1;
            Ok(Size {
                column: read::<String, Text, Pg>(columns, 0)?,
                digits: if is_number { modifier >> 16 } else { modifier },
                places: is_number.then_some(modifier & 0x7ff),
            })
        })
        .await
    }
}

/// Messages of errors that pass: Diesel does not tell the codes of errors that it has no name for. The messages are
/// English unless the server is set up otherwise.
const PASSING: &[&str] = &[
    "terminating connection",
    "the database system is",
    "too many connections",
    "too many clients",
    "remaining connection slots",
    "deadlock detected",
    "canceling statement",
    FULL[0],
    FULL[1],
    "out of shared memory",
    "out of memory",
];

/// Messages of errors that say that there is no room for what is written.
const FULL: [&str; 2] = ["No space left", "could not extend file"];

/// Is it that there is no room?
pub(super) fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let message = error.to_string();
    FULL.iter().any(|known| message.contains(known))
}

/// Messages of errors about a value that its column cannot have.
const UNFIT: &[&str] =
    &["value too long for type", "out of range", "numeric field overflow", "invalid byte sequence"];

/// What went wrong, in the words of actions.
pub(super) fn failure_of(error: DieselError) -> Failure {
    let DieselError::DatabaseError(kind, information) = &error else {
        return match error {
            // A transaction that another failure has left in doubt.
            DieselError::BrokenTransactionManager => Failure::Unavailable(Box::new(error)),
            _ => Failure::Fault(Box::new(error)),
        };
    };
    match kind {
        DatabaseErrorKind::UniqueViolation | DatabaseErrorKind::ExclusionViolation => {
            let columns = information.details().map(columns_of).unwrap_or_default();
            Failure::Unique(about(&**information, columns))
        }
        DatabaseErrorKind::ForeignKeyViolation | DatabaseErrorKind::RestrictViolation => Failure::ForeignKey,
        DatabaseErrorKind::NotNullViolation => {
            let column = information.column_name().map(str::to_owned);
            Failure::NotNull(about(&**information, column.into_iter().collect()))
        }
        DatabaseErrorKind::CheckViolation => Failure::Check(match information.constraint_name() {
            Some(name) => Constraint::Named(information.table_name().map(str::to_owned), name.to_owned()),
            None => Constraint::Of(Vec::new()),
        }),
        DatabaseErrorKind::SerializationFailure
        | DatabaseErrorKind::ClosedConnection
        | DatabaseErrorKind::UnableToSendCommand
        | DatabaseErrorKind::ReadOnlyTransaction => Failure::Unavailable(Box::new(error)),
        _ if PASSING.iter().any(|known| information.message().contains(known)) => {
            Failure::Unavailable(Box::new(error))
        }
        _ if UNFIT.iter().any(|known| information.message().contains(known)) => Failure::TooLarge,
        _ => Failure::Fault(Box::new(error)),
    }
}

/// Columns of the table that the database names.
fn about(information: &dyn DatabaseErrorInformation, columns: Vec<String>) -> Constraint {
    match information.table_name() {
        Some(table) => Constraint::OfTable(table.to_owned(), columns),
        None => Constraint::Of(columns),
    }
}

/// Is it that a constraint refuses what was written?
pub(super) fn is_constraint(error: &DieselError) -> bool {
    let DieselError::DatabaseError(kind, _) = error else { return false };
    matches!(
        kind,
        DatabaseErrorKind::UniqueViolation
            | DatabaseErrorKind::ExclusionViolation
            | DatabaseErrorKind::ForeignKeyViolation
            | DatabaseErrorKind::RestrictViolation
            | DatabaseErrorKind::NotNullViolation
            | DatabaseErrorKind::CheckViolation
    )
}

/// The columns in `Key (topic_id, "Name")=(1, x) already exists.`, in whatever language the rest is.
fn columns_of(details: &str) -> Vec<String> {
    let list =
        details.split_once('(').and_then(|(_, rest)| rest.split_once(")=(")).map_or("", |(list, _)| list);
    list.split(", ").filter(|name| !name.is_empty()).map(unquoted).collect()
}

fn unquoted(name: &str) -> String {
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(name) => name.replace("\"\"", "\""),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_without_a_name_are_known_by_their_message() {
        let failure = |message: &str| {
            failure_of(DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message.to_owned())))
        };
        let unfit = failure("value too long for type character varying(3)");
        assert!(matches!(unfit, Failure::TooLarge), "{unfit:?}");
        let gone = failure("terminating connection due to administrator command");
        assert!(matches!(gone, Failure::Unavailable(_)), "{gone:?}");
        let other = failure("column \"x\" does not exist");
        assert!(matches!(other, Failure::Fault(_)), "{other:?}");
    }

    #[test]
    fn a_constraints_columns_are_read_from_its_message() {
        assert_eq!(columns_of("Key (username)=(ann) already exists."), ["username"]);
        assert_eq!(columns_of("Key (a, \"B c\")=(1, (2)) already exists."), ["a", "B c"]);
        assert_eq!(columns_of("Schlüssel »(code)=(x)« existiert bereits."), ["code"]);
        assert!(columns_of("").is_empty());
    }
}
