//! An open SQLite transaction, as actions see it. Its futures never wait.

use diesel::connection::LoadConnection as _;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sql_types::{BigInt, Text};
use diesel::sqlite::{Sqlite, SqliteConnection};
use diesel::{QueryResult, RunQueryDsl as _};
use realtime_core::__private::read;
use realtime_core::action::{Constraint, Failure, ForeignKey, Transaction};
use realtime_core::commit::Touched;
use realtime_core::log::sqlite::Cells;
use realtime_core::sql::{Statement, Table};
use realtime_core::{AfterCommit, Columns, Row};

pub(super) struct SqliteTransaction<'a> {
    connection: &'a mut SqliteConnection,
    after_commit: Vec<AfterCommit>,
    touched: Vec<Touched>,
}

impl<'a> SqliteTransaction<'a> {
    pub(super) fn new(connection: &'a mut SqliteConnection) -> Self {
        Self { connection, after_commit: Vec::new(), touched: Vec::new() }
    }

    /// What is to be done once the transaction is committed, and which rows it has written.
    pub(super) fn into_parts(self) -> (Vec<AfterCommit>, Vec<Touched>) {
        (self.after_commit, self.touched)
    }

    fn load<T>(
        &mut self,
        statement: Statement<Sqlite>,
        decode: impl Fn(&dyn Columns<Sqlite>) -> diesel::deserialize::Result<T>,
    ) -> QueryResult<Vec<T>> {
        self.connection
            .load(statement)?
            .map(|row| decode(&Cells(&row?)).map_err(DieselError::DeserializationError))
            .collect()
    }

    /// The foreign keys of which a column is the table: the one that refers, or the one that is referred to.
    fn foreign_keys_where(&mut self, column: &'static str, table: &str) -> Result<Vec<ForeignKey>, Failure> {
        // A foreign key without named columns refers to the primary key.
        let mut statement = Statement::new(
            "SELECT t.name || ' ' || k.id, t.name, k.\"table\", k.\"from\", coalesce(k.\"to\", \
             (SELECT i.name FROM pragma_table_info(k.\"table\") AS i WHERE i.pk = k.seq + 1)) \
             FROM sqlite_schema AS t JOIN pragma_foreign_key_list(t.name) AS k WHERE t.type = 'table' AND ",
        );
        statement.sql(column).sql(" = ");
        statement.bind::<Text, _>(table.to_owned()).sql(" COLLATE NOCASE ORDER BY t.rowid, k.id, k.seq");
        let name = |columns: &dyn Columns<Sqlite>, at| read::<String, Text, Sqlite>(columns, at);
        let columns = self.load(statement, |columns| {
            let (table, referenced) = (name(columns, 1)?, name(columns, 2)?);
            let column = (name(columns, 3)?, name(columns, 4)?);
            Ok((name(columns, 0)?, ForeignKey { table, referenced, columns: vec![column] }))
        });
        Ok(ForeignKey::of_columns(columns.map_err(failure_of)?))
    }
}

impl Transaction for SqliteTransaction<'_> {
    type Backend = Sqlite;

    async fn rows(
        &mut self,
        table: &Table<Sqlite>,
        statement: Statement<Sqlite>,
    ) -> Result<Vec<Row>, Failure> {
        let at: Vec<usize> = (0..table.descriptor().fields.len()).collect();
        self.load(statement, |columns| table.decode(columns, &at)).map_err(failure_of)
    }

    async fn number(&mut self, statement: Statement<Sqlite>) -> Result<i64, Failure> {
        let numbers =
            self.load(statement, |columns| read::<i64, BigInt, Sqlite>(columns, 0)).map_err(failure_of)?;
        numbers.first().copied().ok_or_else(|| failure_of(DieselError::NotFound))
    }

    async fn texts(&mut self, statement: Statement<Sqlite>) -> Result<Vec<String>, Failure> {
        self.load(statement, |columns| read::<String, Text, Sqlite>(columns, 0)).map_err(failure_of)
    }

    async fn execute(&mut self, statement: Statement<Sqlite>) -> Result<usize, Failure> {
        statement.execute(self.connection).map_err(failure_of)
    }

    fn after_commit(&mut self, work: AfterCommit) {
        self.after_commit.push(work);
    }

    fn touched(&mut self, row: Touched) {
        self.touched.push(row);
    }

    async fn foreign_keys(&mut self, table: &str) -> Result<Vec<ForeignKey>, Failure> {
        self.foreign_keys_where("t.name", table)
    }

    async fn foreign_keys_to(&mut self, table: &str) -> Result<Vec<ForeignKey>, Failure> {
        self.foreign_keys_where("k.\"table\"", table)
    }

    async fn constraint(&mut self, table: &str, name: &str) -> Result<Option<String>, Failure> {
        let mut statement =
            Statement::new("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND (name = ");
        statement.bind::<Text, _>(name.to_owned()).sql(" AND type = 'index' OR name = ");
        statement.bind::<Text, _>(table.to_owned()).sql(") AND tbl_name = ");
        statement.bind::<Text, _>(table.to_owned()).sql(" ORDER BY type");
        let found =
            self.load(statement, |columns| read::<String, Text, Sqlite>(columns, 0)).map_err(failure_of)?;
        // Where there is an index of that name, it comes before the table.
        Ok(match found.as_slice() {
            [index, _] => index.split_once('(').map(|(_, columns)| columns.to_owned()),
            [table] => check_of(table, name).map(str::to_owned),
            _ => None,
        })
    }
}

/// The expression of the check of a table that SQLite calls `name`: the name of one that has a name, and the expression
/// of another. Another table's check is none of this one.
fn check_of<'a>(table: &'a str, name: &str) -> Option<&'a str> {
    let lower = table.to_ascii_lowercase();
    for (at, word) in lower.match_indices("check") {
        let after = table[at + word.len()..].trim_start();
        let Some(expression) = after.starts_with('(').then(|| in_parentheses(after)).flatten() else {
            continue;
        };
        let constraint = lower[..at].rfind("constraint").map(|start| &table[start + "constraint".len()..at]);
        let is_its_name = constraint.is_some_and(|named| is_called(named.trim(), name));
        if is_its_name || is_called(expression.trim(), name) || begins_with(expression.trim(), name) {
            return Some(expression);
        }
    }
    None
}

/// Is it the name, be it between quotes?
fn is_called(sql: &str, name: &str) -> bool {
    sql == name || begins_with(sql, name) && sql.len() == name.len() + 2
}

/// Does it begin with the name between quotes? SQLite calls an expression that does by that name alone.
fn begins_with(sql: &str, name: &str) -> bool {
    [('"', '"'), ('`', '`'), ('[', ']')].into_iter().any(|(open, close)| {
        let rest = sql.strip_prefix(open).and_then(|rest| rest.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with(close))
    })
}

/// What stands between a text's first parenthesis and the one that closes it.
fn in_parentheses(sql: &str) -> Option<&str> {
    let (mut depth, mut in_text, mut start) = (0_usize, false, None);
    for (at, byte) in sql.bytes().enumerate() {
        match byte {
            b'\'' => in_text = !in_text,
            b'(' if !in_text => {
                depth += 1;
                start = start.or(Some(at + 1));
            }
            b')' if !in_text => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return sql.get(start?..at);
                }
            }
            _ => {}
        }
    }
    None
}

/// What went wrong, in the words of actions. SQLite names the columns of a constraint in the message.
pub(super) fn failure_of(error: DieselError) -> Failure {
    let DieselError::DatabaseError(kind, information) = &error else {
        return Failure::Fault(Box::new(error));
    };
    let message = information.message();
    match kind {
        // "UNIQUE constraint failed: index 'users_lower_name'" where the index is of expressions.
        DatabaseErrorKind::UniqueViolation => Failure::Unique(match message.split_once("failed: index '") {
            Some((_, name)) => Constraint::Named(None, name.trim_end_matches('\'').to_owned()),
            None => about(message, "failed: "),
        }),
        DatabaseErrorKind::ForeignKeyViolation => Failure::ForeignKey,
        DatabaseErrorKind::NotNullViolation => Failure::NotNull(about(message, "failed: ")),
        DatabaseErrorKind::CheckViolation => {
            let about = message.split_once("failed: ").map_or(message, |(_, about)| about);
            Failure::Check(Constraint::Named(None, about.to_owned()))
        }
        // What is `RESTRICT` SQLite has a trigger of its own say.
        _ if message == "FOREIGN KEY constraint failed" => Failure::ForeignKey,
        // A column of a STRICT table: "cannot store TEXT value in INTEGER column samples.beds".
        _ if message.contains("cannot store") => Failure::Check(about(message, " column ")),
        _ if [
            "database is locked",
            "database is full",
            "disk is full",
            "unable to open",
            "disk I/O error",
        ]
        .iter()
        .any(|known| message.contains(known)) =>
        {
            Failure::Unavailable(Box::new(error))
        }
        _ => Failure::Fault(Box::new(error)),
    }
}

/// The columns that a message names, with their table, behind some words: "UNIQUE constraint failed: users.name, users.id".
fn about(message: &str, behind: &str) -> Constraint {
    let list = message.split_once(behind).map_or("", |(_, list)| list);
    let names = list.split(", ").filter_map(|name| name.split_once('.'));
    let columns = names.map(|(_, column)| column.to_owned()).collect();
    match list.split_once('.') {
        Some((table, _)) => Constraint::OfTable(table.to_owned(), columns),
        None => Constraint::Of(columns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_check_is_found_in_the_tables_sql() {
        let table = "CREATE TABLE t (a INT CONSTRAINT \"positive\" CHECK (a > 0 AND (a < 9)), b TEXT,
            constraint short check(length(b) < 3 AND b <> ')'), CONSTRAINT shorter UNIQUE (a))";
        assert_eq!(check_of(table, "positive"), Some("a > 0 AND (a < 9)"));
        assert_eq!(check_of(table, "short"), Some("length(b) < 3 AND b <> ')'"));
        assert_eq!(check_of(table, "shorter"), None);
        assert_eq!(check_of("CREATE TABLE t (a CHECK (a", "a"), None);
    }

    #[test]
    fn a_check_without_a_name_is_found_by_its_expression_and_only_in_its_own_table() {
        let table = "CREATE TABLE t (a INT CHECK ( a > 0 ), b INT CHECK(\"b\" < 9), CHECK (a <> b))";
        for (called, found) in [
            ("a > 0", Some(" a > 0 ")),
            ("b", Some("\"b\" < 9")),
            ("a <> b", Some("a <> b")),
            ("a > 1", None),
            ("a", None),
        ] {
            assert_eq!(check_of(table, called), found, "{called}");
        }
    }

    #[test]
    fn columns_and_their_table_are_read_from_a_message() {
        let columns = |table: &str, columns: &[&str]| {
            Constraint::OfTable(table.to_owned(), columns.iter().map(|&column| column.to_owned()).collect())
        };
        let unique = about("UNIQUE constraint failed: users.name, users.id", "failed: ");
        assert_eq!(unique, columns("users", &["name", "id"]));
        let strict = about("cannot store TEXT value in INTEGER column samples.beds", " column ");
        assert_eq!(strict, columns("samples", &["beds"]));
        assert_eq!(about("UNIQUE constraint failed", "failed: "), Constraint::Of(Vec::new()));
    }
}
