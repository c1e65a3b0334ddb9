//! An open SQLite transaction, as actions see it. Its futures never wait.

use diesel::connection::LoadConnection as _;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sql_types::{BigInt, Text};
use diesel::sqlite::{Sqlite, SqliteConnection};
use diesel::{QueryResult, RunQueryDsl as _};
use realtime_core::__private::read;
use realtime_core::Row;
use realtime_core::action::{Failure, ForeignKey, Transaction};
use realtime_core::log::sqlite::Cells;
use realtime_core::sql::{Statement, Table};

pub(super) struct SqliteTransaction<'a> {
    connection: &'a mut SqliteConnection,
}

impl<'a> SqliteTransaction<'a> {
    pub(super) fn new(connection: &'a mut SqliteConnection) -> Self {
        Self { connection }
    }

    fn load<T>(
        &mut self,
        statement: Statement<Sqlite>,
        decode: impl Fn(&dyn realtime_core::Columns<Sqlite>) -> diesel::deserialize::Result<T>,
    ) -> QueryResult<Vec<T>> {
        self.connection
            .load(statement)?
            .map(|row| decode(&Cells(&row?)).map_err(DieselError::DeserializationError))
            .collect()
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

    async fn execute(&mut self, statement: Statement<Sqlite>) -> Result<(), Failure> {
        statement.execute(self.connection).map(drop).map_err(failure_of)
    }

    async fn foreign_keys(&mut self, table: &str) -> Result<Vec<ForeignKey>, Failure> {
        // A foreign key without a named column refers to the primary key.
        let mut statement = Statement::new(
            "SELECT k.\"from\", k.\"table\", coalesce(k.\"to\", (SELECT name FROM pragma_table_info(k.\"table\") WHERE pk = 1)) \
             FROM pragma_foreign_key_list(",
        );
        statement.bind::<Text, _>(table.to_owned()).sql(") AS k");
        self.load(statement, |columns| {
            Ok(ForeignKey {
                column: read::<String, Text, Sqlite>(columns, 0)?,
                table: read::<String, Text, Sqlite>(columns, 1)?,
                referenced: read::<String, Text, Sqlite>(columns, 2)?,
            })
        })
        .map_err(failure_of)
    }
}

/// What went wrong, in the words of actions. SQLite names the columns of a constraint in the message.
pub(super) fn failure_of(error: DieselError) -> Failure {
    let DieselError::DatabaseError(kind, information) = &error else {
        return Failure::Fault(Box::new(error));
    };
    let message = information.message();
    // "UNIQUE constraint failed: users.username, users.id"
    let columns = || -> Vec<String> {
        let list = message.split_once("failed: ").map_or("", |(_, list)| list);
        list.split(", ")
            .filter_map(|name| name.split_once('.'))
            .map(|(_, column)| column.to_owned())
            .collect()
    };
    match kind {
        DatabaseErrorKind::UniqueViolation => Failure::Unique(columns()),
        DatabaseErrorKind::ForeignKeyViolation => Failure::ForeignKey,
        DatabaseErrorKind::NotNullViolation => Failure::NotNull(columns().into_iter().next()),
        DatabaseErrorKind::CheckViolation => Failure::Check,
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
