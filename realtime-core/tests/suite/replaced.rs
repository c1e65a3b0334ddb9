//! Rows that SQLite removes to make room for others, with `PRAGMA recursive_triggers` and without: what the log says is
//! what became of the table, whatever writes to it.

use std::collections::BTreeMap;

use diesel::connection::{LoadConnection, SimpleConnection};
use diesel::prelude::*;
use diesel::sqlite::{Sqlite, SqliteConnection};
use proptest::prelude::*;
use realtime_core::change::Change;
use realtime_core::cursor::Position;
use realtime_core::log::sqlite::{self as log, Cells, Reader, Watch};
use realtime_core::sql::{Statement, Table};
use realtime_core::{RealtimeResource, Record, object};

diesel::table! {
    slots (id) {
        id -> BigInt,
        name -> Nullable<Text>,
        place -> Nullable<BigInt>,
        note -> Nullable<BigInt>,
    }
}

#[derive(RealtimeResource)]
#[realtime(stream = "slots")]
#[diesel(table_name = slots)]
struct Slot {
    id: i64,
    name: Option<String>,
    place: Option<i64>,
    note: Option<i64>,
}

/// The same table, of which no column is shown that could be in anybody's way but the key.
#[derive(RealtimeResource)]
#[realtime(stream = "bare")]
#[diesel(table_name = slots)]
struct Bare {
    id: i64,
    note: Option<i64>,
}

/// Tables of every kind that may be replaced in.
const SCHEMAS: [&str; 8] = [
    "CREATE TABLE slots (id INTEGER PRIMARY KEY, name TEXT, place INTEGER, note INTEGER)",
    "CREATE TABLE slots (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE COLLATE NOCASE, place INTEGER UNIQUE, note INTEGER)",
    "CREATE TABLE slots (id INTEGER NOT NULL UNIQUE DEFAULT (random() & 65535), name TEXT, place INTEGER, note INTEGER, \
     PRIMARY KEY (name, place)) WITHOUT ROWID",
    "CREATE TABLE slots (id BIGINT NOT NULL PRIMARY KEY DEFAULT (random() & 65535), name TEXT, place INTEGER, note INTEGER, \
     UNIQUE (name, place))",
    "CREATE TABLE slots (id INTEGER PRIMARY KEY, name TEXT, place INTEGER, note INTEGER); \
     CREATE UNIQUE INDEX of_odd ON slots (place) WHERE note % 2; CREATE UNIQUE INDEX of_name ON slots (name COLLATE NOCASE)",
    "CREATE TABLE slots (id INTEGER PRIMARY KEY ON CONFLICT REPLACE, name TEXT UNIQUE ON CONFLICT IGNORE, \
     place INTEGER UNIQUE ON CONFLICT REPLACE, note INTEGER)",
    "CREATE TABLE slots (id INTEGER PRIMARY KEY, name TEXT, place INTEGER, note INTEGER, \
     half INTEGER GENERATED ALWAYS AS (place / 2) VIRTUAL UNIQUE)",
    // A trigger of the application's that makes room by itself.
    "CREATE TABLE slots (id INTEGER PRIMARY KEY, name TEXT UNIQUE, place INTEGER, note INTEGER); \
     CREATE TRIGGER room BEFORE INSERT ON slots WHEN NEW.note = 1 BEGIN DELETE FROM slots WHERE name = NEW.name; END; \
     CREATE TRIGGER more AFTER INSERT ON slots WHEN NEW.note = 2 BEGIN UPDATE slots SET note = 3 WHERE id = NEW.id; END",
];

fn number() -> impl Strategy<Value = String> {
    (0..5_i64).prop_map(|number| number.to_string())
}

fn number_or_none() -> impl Strategy<Value = String> {
    prop_oneof![4 => number(), 1 => Just("NULL".to_owned())]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![Just("'a'"), Just("'A'"), Just("'b'"), Just("'c'"), Just("NULL")].prop_map(str::to_owned)
}

fn resolution() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => Just("OR REPLACE"), 1 => Just(""), 1 => Just("OR IGNORE"), 1 => Just("OR FAIL"), 1 => Just("OR ROLLBACK")]
}

fn rows() -> impl Strategy<Value = String> {
    let row = (number_or_none(), name(), number_or_none(), number())
        .prop_map(|(id, name, place, note)| format!("({id}, {name}, {place}, {note})"));
    prop::collection::vec(row, 1..4).prop_map(|rows| rows.join(", "))
}

fn statement() -> impl Strategy<Value = String> {
    let nameless = (name(), number_or_none(), number());
    let set = prop_oneof![
        number().prop_map(|id| format!("id = {id}")),
        name().prop_map(|name| format!("name = {name}")),
        number_or_none().prop_map(|place| format!("place = {place}")),
        number().prop_map(|note| format!("note = {note}")),
        Just("id = id + 1, place = place - 1".to_owned()),
    ];
    prop_oneof![
        4 => (resolution(), rows())
            .prop_map(|(or, rows)| format!("INSERT {or} INTO slots (id, name, place, note) VALUES {rows}")),
        2 => (resolution(), nameless)
            .prop_map(|(or, (name, place, note))| format!("INSERT {or} INTO slots (name, place, note) VALUES ({name}, {place}, {note})")),
        1 => rows().prop_map(|rows| format!(
            "INSERT INTO slots (id, name, place, note) VALUES {rows} ON CONFLICT DO UPDATE SET note = excluded.note"
        )),
        3 => (resolution(), set, number())
            .prop_map(|(or, set, id)| format!("UPDATE {or} slots SET {set} WHERE id >= {id}")),
        1 => number().prop_map(|id| format!("DELETE FROM slots WHERE id = {id}")),
        1 => Just("DELETE FROM slots".to_owned()),
    ]
}

type Rows = BTreeMap<String, String>;

/// Applies what the log says, which is to fit what it is said of.
fn apply(rows: &mut Rows, changes: &[Change], object_of: impl Fn(&dyn Record) -> String) {
    for change in changes {
        let key = change.key.to_json().to_string();
        let before = change.before.as_ref().map(|row| object_of(row.as_ref()));
        assert_eq!(rows.get(&key), before.as_ref(), "before the change of {key}");
        match &change.after {
            Some(after) => rows.insert(key, object_of(after.as_ref())),
            None => rows.remove(&key),
        };
    }
}

fn rows_of(connection: &mut SqliteConnection, table: &Table<Sqlite>) -> Rows {
    let fields = table.descriptor().fields;
    let columns: Vec<&str> = fields.iter().map(|field| field.column).collect();
    let mut statement = Statement::<Sqlite>::new("SELECT ");
    statement.sql(columns.join(", ")).sql(" FROM slots");
    let at: Vec<usize> = (0..fields.len()).collect();
    let rows = connection.load(statement).unwrap();
    rows.map(|row| {
        let row = table.decode(&Cells(&row.unwrap()), &at).unwrap();
        (row.value(table.descriptor().key).to_json().to_string(), object(table.descriptor(), row.as_ref()))
    })
    .collect()
}

fn check(table: &Table<Sqlite>, schema: &str, recursive: bool, transactions: &[Vec<String>]) {
    let mut connection = SqliteConnection::establish(":memory:").unwrap();
    connection.batch_execute(schema).unwrap();
    connection
        .batch_execute(if recursive {
            "PRAGMA recursive_triggers = ON"
        } else {
            "PRAGMA recursive_triggers = OFF"
        })
        .unwrap();
    for statement in log::outstanding(&mut connection, &Watch::over(std::slice::from_ref(table))).unwrap() {
        connection.batch_execute(&statement).unwrap();
    }
    let reader = Reader::new(&mut connection, vec![*table]).unwrap();
    let mut seen = Position(0);
    let mut rows = Rows::new();
    for transaction in transactions {
        connection.batch_execute("BEGIN").unwrap();
        for statement in transaction {
            // What cannot be done is not done; `OR ROLLBACK` ends the transaction.
            if connection.batch_execute(statement).is_err()
                && connection.batch_execute("SAVEPOINT x; RELEASE x").is_err()
            {
                break;
            }
        }
        let _ = connection.batch_execute("COMMIT");
        log::close_unmarked(&mut connection).unwrap();
        let read = reader.read(&mut connection, seen).unwrap();
        assert!(read.corrupt.is_empty(), "{:?}", read.corrupt);
        seen = read.batch.position;
        apply(&mut rows, &read.batch.changes, |row| object(table.descriptor(), row));
        assert_eq!(rows, rows_of(&mut connection, table), "after {transaction:?}");
    }
}

proptest! {
    #[test]
    fn the_log_says_what_became_of_the_table(
        schema in 0..SCHEMAS.len(),
        recursive in any::<bool>(),
        bare in any::<bool>(),
        transactions in prop::collection::vec(prop::collection::vec(statement(), 1..4), 1..12),
    ) {
        let table = if bare { Table::of::<Bare>() } else { Table::of::<Slot>() };
        check(&table, SCHEMAS[schema], recursive, &transactions);
    }
}
