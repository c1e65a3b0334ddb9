//! The change log of SQLite: what its triggers see, and how it is installed and read.

use std::collections::BTreeMap;

use diesel::connection::{LoadConnection, SimpleConnection};
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};
use diesel::sqlite::{Sqlite, SqliteConnection};
use expect_test::{Expect, expect};
use proptest::prelude::*;
use realtime_core::change::{Change, ResourceId};
use realtime_core::cursor::{Cursor, Epoch, Position};
use realtime_core::log::sqlite::{self as log, InstallError, Read, Reader, Watch};
use realtime_core::sql::{Statement, Table};
use realtime_core::{Descriptor, RealtimeResource, Row, Value, object};
use serde_json::{Value as Json, json};

use crate::model::{Note, Tag, all, database, descriptor, key_of, note_table, notes, object_of};
use crate::random;

/// The same table as [`Note`]'s, of which less is shown.
#[derive(RealtimeResource)]
#[diesel(table_name = crate::model::notes)]
#[realtime(stream = "brief")]
struct Brief {
    id: i64,
    title: String,
}

fn tables() -> Vec<Table<Sqlite>> {
    vec![note_table(), Table::of::<Tag>()]
}

const DESCRIPTORS: [&Descriptor; 2] = [Note::DESCRIPTOR, Tag::DESCRIPTOR];

fn install(connection: &mut SqliteConnection, tables: &[Table<Sqlite>]) -> Vec<String> {
    let statements = log::outstanding(connection, &Watch::over(tables)).unwrap();
    for statement in &statements {
        connection.batch_execute(statement).unwrap();
    }
    statements
}

/// A database with its log, read up to a position.
struct Logged {
    connection: SqliteConnection,
    reader: Reader,
    seen: Position,
}

impl Logged {
    fn new() -> Self {
        Self::over(database())
    }

    fn over(mut connection: SqliteConnection) -> Self {
        install(&mut connection, &tables());
        let reader = Reader::new(&mut connection, tables()).unwrap();
        Self { connection, reader, seen: Position(0) }
    }

    /// Runs statements as one transaction of ours: with a mark behind them.
    fn run(&mut self, sql: &str) -> Read {
        let seen = self.seen;
        self.connection
            .immediate_transaction(|connection| {
                connection.batch_execute(sql)?;
                log::mark(connection, seen)
            })
            .unwrap();
        self.read()
    }

    fn read(&mut self) -> Read {
        let read = self.reader.read(&mut self.connection, self.seen).unwrap();
        self.seen = read.batch.position;
        read
    }
}

/// The first column of what a query answers; NULL is the empty text.
fn texts(connection: &mut SqliteConnection, sql: &'static str) -> Vec<String> {
    use realtime_core::__private::read;
    let rows = connection.load(Statement::<Sqlite>::new(sql)).unwrap();
    rows.map(|row| {
        let text = read::<Option<String>, Nullable<Text>, Sqlite>(&log::Cells(&row.unwrap()), 0).unwrap();
        text.unwrap_or_default()
    })
    .collect()
}

fn describe(changes: &[Change]) -> String {
    let mut out = String::new();
    for change in changes {
        let descriptor = DESCRIPTORS[change.resource.0];
        let json = |row: &Row| -> Json { serde_json::from_str(&object(descriptor, row.as_ref())).unwrap() };
        let what = match (&change.before, &change.after) {
            (None, None) => "nothing".to_owned(),
            (None, Some(after)) => format!("create {}", json(after)),
            (Some(before), None) => format!("delete {}", json(before)),
            (Some(before), Some(after)) => {
                let (before, after) = (json(before), json(after));
                let names: Vec<&str> = descriptor.fields.iter().map(|field| field.name).collect();
                let changed: Vec<String> = names
                    .into_iter()
                    .filter(|name| before[*name] != after[*name])
                    .map(|name| format!("{name}: {} -> {}", before[name], after[name]))
                    .collect();
                format!("update {}", changed.join(", "))
            }
        };
        out.push_str(&format!("{} {} {what}\n", descriptor.stream, change.key.to_json()));
    }
    out
}

/// Two notes and three tags, then a transaction: what the log says of it. In the end the images are the rows.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "an expectation is written where it is passed")]
fn check(sql: &str, expected: Expect) {
    let mut logged = Logged::new();
    logged.run(
        "INSERT INTO notes (id, rank, title, done, mood, created) VALUES
            (1, 1, 'a', 0, 'Z', '2026-01-31 12:00:00+00:00'), (2, 2, 'b', 1, 'A', '2026-01-31 12:00:00+00:00');
         INSERT INTO tags (name, colour, parent) VALUES ('x', 'red', NULL), ('y', 'blue', 'x'), ('z', 'blue', 'y');",
    );
    let read = logged.run(sql);
    assert!(read.corrupt.is_empty(), "{:?}", read.corrupt);
    assert!(!read.unmarked);
    expected.assert_eq(&describe(&read.batch.changes));
    for row in all(&mut logged.connection) {
        if let Some(change) =
            read.batch.changes.iter().rfind(|change| {
                change.resource == ResourceId(0) && change.key.is_same(&Value::Int(key_of(&row)))
            })
        {
            let after = change.after.as_ref().expect("a row that is there");
            for field in 0..descriptor().fields.len() {
                assert!(after.value(field).is_same(&row.value(field)), "an image is what a SELECT gives");
            }
        }
    }
}

#[test]
fn a_bulk_update_is_one_change_for_each_row_that_it_changes() {
    check(
        "UPDATE notes SET rank = 2, score = 0.5;",
        expect![[r#"
        notes 1 update rank: 1 -> 2, score: null -> 0.5
        notes 2 update score: null -> 0.5
    "#]],
    );
    check(
        "UPDATE notes SET rank = 2;",
        expect![[r#"
        notes 1 update rank: 1 -> 2
    "#]],
    );
}

#[test]
fn an_update_that_changes_nothing_is_not_logged() {
    check("UPDATE notes SET rank = rank, title = title, text = NULL;", expect![[""]]);
}

#[test]
fn a_column_that_no_resource_shows_is_not_logged() {
    check("UPDATE tags SET secret = 'other';", expect![[""]]);
    let mut logged = Logged::new();
    logged.run("INSERT INTO tags (name, secret, colour) VALUES ('x', 'never to be seen', 'red')");
    let log =
        texts(&mut logged.connection, "SELECT after_0 || after_1 FROM realtime_log WHERE operation > 0");
    assert!(!log.concat().contains("seen"), "{log:?}");
    let columns = "SELECT columns FROM realtime_layout WHERE table_name = 'tags'";
    assert_eq!(texts(&mut logged.connection, columns), [r#"["colour","name"]"#]);
}

#[test]
fn a_replace_is_an_update_of_the_row_it_takes_the_place_of() {
    check(
        "INSERT OR REPLACE INTO notes (id, rank, title, done, mood, created)
            VALUES (1, 9, 'a', 0, 'Z', '2026-01-31 12:00:00+00:00'), (3, 3, 'c', 0, 'Z', '2026-01-31 12:00:00+00:00');",
        expect![[r#"
            notes 1 update rank: 1 -> 9
            notes 3 create {"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":3,"mood":"calm","rank":3,"score":null,"title":"c"}
        "#]],
    );
}

#[test]
fn a_replace_removes_every_row_in_its_way() {
    check(
        "CREATE UNIQUE INDEX unique_rank ON notes (rank);
         UPDATE OR REPLACE notes SET rank = 2 WHERE id = 1;",
        expect![[r#"
            notes 2 delete {"body":null,"created":"2026-01-31T12:00:00Z","done":true,"edited":null,"id":2,"mood":"sad","rank":2,"score":null,"title":"b"}
            notes 1 update rank: 1 -> 2
        "#]],
    );
}

#[test]
fn an_upsert_is_what_it_did() {
    check(
        "INSERT INTO notes (id, rank, title, done, mood, created)
            VALUES (1, 9, 'new', 0, 'Z', '2026-01-31 12:00:00+00:00'), (3, 3, 'c', 0, 'Z', '2026-01-31 12:00:00+00:00')
            ON CONFLICT (id) DO UPDATE SET rank = excluded.rank;
         INSERT INTO notes (id, rank, title, done, mood, created)
            VALUES (2, 9, 'new', 0, 'Z', '2026-01-31 12:00:00+00:00') ON CONFLICT DO NOTHING;",
        expect![[r#"
            notes 1 update rank: 1 -> 9
            notes 3 create {"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":3,"mood":"calm","rank":3,"score":null,"title":"c"}
        "#]],
    );
}

#[test]
fn a_cascade_is_seen() {
    check(
        "DELETE FROM tags WHERE name = 'x';",
        expect![[r#"
        tags "z" delete {"colour":"blue","name":"z"}
        tags "y" delete {"colour":"blue","name":"y"}
        tags "x" delete {"colour":"red","name":"x"}
    "#]],
    );
}

#[test]
fn a_table_that_is_emptied_is_emptied_row_by_row() {
    check(
        "DELETE FROM notes;",
        expect![[r#"
        notes 1 delete {"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":1,"mood":"calm","rank":1,"score":null,"title":"a"}
        notes 2 delete {"body":null,"created":"2026-01-31T12:00:00Z","done":true,"edited":null,"id":2,"mood":"sad","rank":2,"score":null,"title":"b"}
    "#]],
    );
}

#[test]
fn a_changed_key_is_a_removal_and_an_arrival() {
    check(
        "UPDATE notes SET id = 7 WHERE id = 1;",
        expect![[r#"
        notes 1 delete {"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":1,"mood":"calm","rank":1,"score":null,"title":"a"}
        notes 7 create {"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":7,"mood":"calm","rank":1,"score":null,"title":"a"}
    "#]],
    );
    check(
        "UPDATE notes SET id = -1 WHERE id = 1; UPDATE notes SET id = 1 WHERE id = 2; UPDATE notes SET id = 2 WHERE id = -1;",
        expect![[r#"
            notes 1 update rank: 1 -> 2, title: "a" -> "b", done: false -> true, mood: "calm" -> "sad"
            notes 2 update rank: 2 -> 1, title: "b" -> "a", done: true -> false, mood: "sad" -> "calm"
        "#]],
    );
    check(
        "UPDATE notes SET id = id + 10;",
        expect![[r#"
        notes 1 delete {"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":1,"mood":"calm","rank":1,"score":null,"title":"a"}
        notes 11 create {"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":11,"mood":"calm","rank":1,"score":null,"title":"a"}
        notes 2 delete {"body":null,"created":"2026-01-31T12:00:00Z","done":true,"edited":null,"id":2,"mood":"sad","rank":2,"score":null,"title":"b"}
        notes 12 create {"body":null,"created":"2026-01-31T12:00:00Z","done":true,"edited":null,"id":12,"mood":"sad","rank":2,"score":null,"title":"b"}
    "#]],
    );
}

#[test]
fn a_savepoint_that_is_rolled_back_leaves_nothing() {
    check(
        "SAVEPOINT one;
         UPDATE notes SET rank = 5;
         DELETE FROM tags;
         ROLLBACK TO one;
         RELEASE one;",
        expect![[""]],
    );
    check(
        "UPDATE notes SET rank = 5 WHERE id = 1;
         SAVEPOINT one;
         UPDATE notes SET rank = 6;
         ROLLBACK TO one;
         RELEASE one;
         UPDATE notes SET title = 'c' WHERE id = 2;",
        expect![[r#"
            notes 1 update rank: 1 -> 5
            notes 2 update title: "b" -> "c"
        "#]],
    );
}

#[test]
fn a_transaction_that_is_rolled_back_leaves_nothing() {
    let mut logged = Logged::new();
    logged.run("INSERT INTO tags (name, colour) VALUES ('x', 'red')");
    let before = log::newest(&mut logged.connection).unwrap();
    logged.connection.batch_execute("BEGIN; UPDATE tags SET colour = 'blue'; ROLLBACK;").unwrap();
    assert_eq!(log::newest(&mut logged.connection).unwrap(), before);
    assert!(logged.read().batch.changes.is_empty());
}

#[test]
fn a_statement_that_fails_half_way_leaves_nothing() {
    let mut logged = Logged::new();
    logged.run("INSERT INTO tags (name, colour) VALUES ('x', 'red'), ('y', 'red')");
    logged.connection.batch_execute("UPDATE tags SET name = 'z'").unwrap_err();
    assert!(logged.run("").batch.changes.is_empty());
}

#[test]
fn a_change_of_case_is_seen_in_a_column_without_case() {
    check(
        "UPDATE notes SET title = 'A' WHERE id = 1;",
        expect![[r#"
        notes 1 update title: "a" -> "A"
    "#]],
    );
}

#[test]
fn several_changes_of_a_row_in_one_transaction_are_one() {
    check(
        "UPDATE notes SET rank = 5 WHERE id = 1;
         UPDATE notes SET title = 'x' WHERE id = 1;
         UPDATE notes SET rank = 1 WHERE id = 1;
         INSERT INTO tags (name, colour) VALUES ('w', 'red');
         DELETE FROM tags WHERE name = 'w';",
        expect![[r#"
            notes 1 update title: "a" -> "x"
        "#]],
    );
}

#[test]
fn what_the_triggers_of_the_application_do_is_seen_in_the_order_it_happened() {
    // Its name alone does not make it one of ours.
    const STAMP: &str = "CREATE TRIGGER realtime_notes_stamp AFTER UPDATE OF title ON notes BEGIN
            UPDATE notes SET rank = rank + 100 WHERE id = NEW.id;
            INSERT INTO tags (name, colour) VALUES ('made by ' || NEW.title, 'red');
        END;";
    let row = "INSERT INTO notes (id, rank, title, done, mood, created)
        VALUES (1, 1, 'a', 0, 'Z', '2026-01-31 12:00:00+00:00');";
    let run = |mut logged: Logged| {
        logged.run(row);
        describe(&logged.run("UPDATE notes SET title = 'x';").batch.changes)
    };
    let mut connection = database();
    connection.batch_execute(STAMP).unwrap();
    let before = run(Logged::over(connection));
    expect![[r#"
        notes 1 update rank: 1 -> 101, title: "a" -> "x"
        tags "made by x" create {"colour":"red","name":"made by x"}
    "#]]
    .assert_eq(&before);

    // SQLite fires the newest trigger first. One that a migration adds later would change the row again before ours had
    // logged what it is called for, so ours have to be made anew.
    let mut connection = database();
    install(&mut connection, &tables());
    connection.batch_execute(STAMP).unwrap();
    assert_eq!(install(&mut connection, &tables()).len(), 12, "they are dropped and made");
    assert_eq!(install(&mut connection, &tables()), [""; 0]);
    assert_eq!(run(Logged::over(connection)), before);
}

#[test]
fn every_storage_class_survives_the_log() {
    let mut logged = Logged::new();
    let read = logged.run(
        "INSERT INTO notes VALUES
            (9223372036854775807, 2147483647, 0.1, 'nul' || char(0) || 'nul', '', 1, 'Z', '2026-01-31 12:00:00+00:00', NULL),
            (-9223372036854775808, -2147483648, 9e999, 'ß ẞ 😀', NULL, 0, 'A', '2026-01-31T13:00:00+01:00', '2026-01-31 12:00:00.123456789'),
            (9007199254740993, 0, -9e999, '', ' ', 0, 'm', '2026-01-31 12:00:00Z', NULL),
            (0, 0, 5e-324, '''', '1', 0, 'm', '2026-01-31 12:00:00Z', NULL),
            (1, 0, 1.7976931348623157e308, 1, 1.5, 0, 'm', '2026-01-31 12:00:00Z', NULL),
            (2, 0, 9007199254740993, 1, 1.5, 0, 'm', '2026-01-31 12:00:00Z', NULL);",
    );
    assert!(read.corrupt.is_empty(), "{:?}", read.corrupt);
    let rows: BTreeMap<i64, Row> =
        all(&mut logged.connection).into_iter().map(|row| (key_of(&row), row)).collect();
    assert_eq!(read.batch.changes.len(), rows.len());
    for change in &read.batch.changes {
        let after = change.after.as_ref().unwrap();
        let row = &rows[&key_of(after)];
        for field in 0..descriptor().fields.len() {
            let (image, stored) = (after.value(field), row.value(field));
            assert!(image.is_same(&stored), "{image:?} is {stored:?}");
        }
    }
    expect![[r#"
        notes 9223372036854775807 create {"body":"","created":"2026-01-31T12:00:00Z","done":true,"edited":null,"id":9223372036854775807,"mood":"calm","rank":2147483647,"score":0.1,"title":"nul\u0000nul"}
        notes -9223372036854775808 create {"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":"2026-01-31T12:00:00.123456789Z","id":-9223372036854775808,"mood":"sad","rank":-2147483648,"score":"Infinity","title":"ß ẞ 😀"}
        notes 9007199254740993 create {"body":" ","created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":9007199254740993,"mood":"quite-angry","rank":0,"score":"-Infinity","title":""}
        notes 0 create {"body":"1","created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":0,"mood":"quite-angry","rank":0,"score":5e-324,"title":"'"}
        notes 1 create {"body":"1.5","created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":1,"mood":"quite-angry","rank":0,"score":1.7976931348623157e+308,"title":"1"}
        notes 2 create {"body":"1.5","created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":2,"mood":"quite-angry","rank":0,"score":9007199254740992.0,"title":"1"}
    "#]].assert_eq(&describe(&read.batch.changes));
}

#[test]
fn a_blob_in_a_text_column_does_not_break_its_writer() {
    let mut logged = Logged::new();
    let read = logged.run(
        "INSERT INTO tags (name, colour) VALUES ('x', x'726564'), ('y', 'red'), ('z', x'c328ff');
         UPDATE tags SET colour = x'00' WHERE name = 'y';",
    );
    expect![[r#"
        tags "x" create {"colour":"red","name":"x"}
        tags "y" create {"colour":"\u0000","name":"y"}
    "#]]
    .assert_eq(&describe(&read.batch.changes));
    // A SELECT cannot read this one as text either.
    expect![[r#"[(ResourceId(1), "row 3: invalid utf-8 sequence of 1 bytes from index 0")]"#]]
        .assert_eq(&format!("{:?}", read.corrupt));
    assert_eq!(read.batch.lost, [ResourceId(1)]);
    let stored =
        "SELECT group_concat(hex(after_0) || typeof(after_0), ' ') FROM realtime_log WHERE operation <> 0";
    expect!["726564blob 726564text C328FFblob 00blob"]
        .assert_eq(&texts(&mut logged.connection, stored).concat());
}

#[test]
fn a_row_that_cannot_be_decoded_is_told_and_hides_no_other() {
    let mut logged = Logged::new();
    let read = logged.run(
        "INSERT INTO notes VALUES (1, 1, NULL, 'a', NULL, 0, 'no mood', '2026-01-31 12:00:00Z', NULL);
         INSERT INTO notes VALUES (2, 1, NULL, 'b', NULL, 0, 'Z', 'no time', NULL);
         INSERT INTO notes VALUES (3, 1, NULL, 'c', NULL, 0, 'Z', '2026-01-31 12:00:00Z', NULL);
         INSERT INTO tags (name, colour) VALUES ('x', 'red');",
    );
    assert_eq!(read.batch.lost, [ResourceId(0)]);
    expect![[r#"
        row 1: "no mood" is no mood
        row 2: Invalid datetime no time
    "#]]
    .assert_eq(&read.corrupt.iter().map(|(_, why)| format!("{why}\n")).collect::<String>());
    expect![[r#"
        notes 3 create {"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":3,"mood":"calm","rank":1,"score":null,"title":"c"}
        tags "x" create {"colour":"red","name":"x"}
    "#]].assert_eq(&describe(&read.batch.changes));
    assert_eq!(read.batch.position, log::newest(&mut logged.connection).unwrap());
}

#[test]
fn transactions_are_read_in_order_and_each_by_itself() {
    let mut logged = Logged::new();
    let start = logged.seen;
    for sql in [
        "INSERT INTO tags (name, colour) VALUES ('x', 'red')",
        "UPDATE tags SET colour = 'blue'",
        "UPDATE tags SET colour = 'red'",
        "DELETE FROM tags",
    ] {
        logged.run(sql);
    }
    let read = logged.reader.read(&mut logged.connection, start).unwrap();
    expect![[r#"
        tags "x" create {"colour":"red","name":"x"}
        tags "x" update colour: "red" -> "blue"
        tags "x" update colour: "blue" -> "red"
        tags "x" delete {"colour":"red","name":"x"}
    "#]]
    .assert_eq(&describe(&read.batch.changes));
    let positions: Vec<i64> = read.batch.changes.iter().map(|change| change.cursor.0).collect();
    assert_eq!(positions, [1, 3, 5, 7]);
    assert_eq!(read.batch.position, Position(8));
    let read = logged.reader.read(&mut logged.connection, Position(4)).unwrap();
    assert_eq!(read.batch.changes.len(), 2);
    let read = logged.reader.read(&mut logged.connection, Position(8)).unwrap();
    assert_eq!((read.batch.changes.len(), read.batch.position, read.unmarked), (0, Position(8), false));
}

#[test]
fn a_transaction_that_wrote_nothing_has_no_mark() {
    let mut logged = Logged::new();
    assert_eq!(log::newest(&mut logged.connection).unwrap(), Position(0));
    logged.run("UPDATE tags SET colour = 'blue'");
    assert_eq!(log::newest(&mut logged.connection).unwrap(), Position(0));
    logged.run("INSERT INTO tags (name, colour) VALUES ('x', 'red')");
    assert_eq!(log::newest(&mut logged.connection).unwrap(), Position(2));
}

#[test]
fn what_others_wrote_is_closed_as_one_transaction() {
    let mut logged = Logged::new();
    logged.run("INSERT INTO tags (name, colour) VALUES ('x', 'red')");
    assert_eq!(log::close_unmarked(&mut logged.connection).unwrap(), Position(2));
    // Two transactions of a writer that knows of no marks.
    logged.connection.batch_execute("UPDATE tags SET colour = 'blue'").unwrap();
    logged.connection.batch_execute("INSERT INTO tags (name, colour) VALUES ('y', 'red')").unwrap();
    assert!(logged.reader.read(&mut logged.connection, Position(2)).unwrap().unmarked);
    assert_eq!(log::close_unmarked(&mut logged.connection).unwrap(), Position(5));
    assert_eq!(log::close_unmarked(&mut logged.connection).unwrap(), Position(5));
    let read = logged.read();
    assert!(!read.unmarked);
    expect![[r#"
        tags "x" update colour: "red" -> "blue"
        tags "y" create {"colour":"red","name":"y"}
    "#]]
    .assert_eq(&describe(&read.batch.changes));
}

#[test]
fn another_connection_is_noticed_and_read() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("another-connection-{}.sqlite", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let url = path.to_str().unwrap();
    let mut connection = SqliteConnection::establish(url).unwrap();
    connection.batch_execute(crate::model::SCHEMA).unwrap();
    let mut logged = Logged::over(connection);
    let version = log::data_version(&mut logged.connection).unwrap();

    // It has none of our functions.
    let mut other = SqliteConnection::establish(url).unwrap();
    other.batch_execute("INSERT INTO tags (name, colour) VALUES ('x', 'red')").unwrap();
    assert_ne!(log::data_version(&mut logged.connection).unwrap(), version);
    log::close_unmarked(&mut logged.connection).unwrap();
    assert_eq!(logged.read().batch.changes.len(), 1);
    drop((logged, other));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_position_is_as_old_as_its_first_note() {
    let mut logged = Logged::new();
    let mut note = |position, at| log::note_time(&mut logged.connection, Position(position), at).unwrap();
    note(3, 100);
    note(3, 160);
    note(9, 220);
    note(9, 280);
    let mut at = |time| log::position_at(&mut logged.connection, time).unwrap().0;
    assert_eq!([at(99), at(100), at(219), at(220), at(9_999)], [0, 3, 3, 9, 9]);
    assert_eq!([at(219), at(220)], [0, 9], "what was found is the oldest that is remembered");
}

#[test]
fn pruning_removes_the_oldest_rows_and_never_the_newest() {
    let mut logged = Logged::new();
    for name in ["a", "b", "c"] {
        logged.run(&format!("INSERT INTO tags (name, colour) VALUES ('{name}', 'red')"));
    }
    assert_eq!(log::prune(&mut logged.connection, Position(4), 3).unwrap(), 3);
    assert_eq!(log::prune(&mut logged.connection, Position(4), 3).unwrap(), 1);
    assert_eq!(log::prune(&mut logged.connection, Position(4), 3).unwrap(), 0);
    let rest = logged.reader.read(&mut logged.connection, Position(0)).unwrap();
    assert_eq!((rest.batch.changes.len(), rest.batch.position), (1, Position(6)));
    // Were the newest gone, the feed would count from one again and repeat its positions.
    log::prune(&mut logged.connection, Position(100), 100).unwrap();
    assert_eq!(log::newest(&mut logged.connection).unwrap(), Position(6));
    let read = logged.run("DELETE FROM tags WHERE name = 'a'");
    assert_eq!((read.batch.changes.len(), read.batch.position), (1, Position(8)));
}

#[test]
fn the_log_reaches_back_to_the_ends_of_the_transactions_that_it_holds() {
    let mut logged = Logged::new();
    let reaches = |logged: &mut Logged| -> Vec<i64> {
        let reaches = |at: &i64| log::reaches_back_to(&mut logged.connection, Position(*at)).unwrap();
        (0..12).filter(reaches).collect()
    };
    assert_eq!(reaches(&mut logged), [0]);
    for name in ["a", "b", "c"] {
        logged.run(&format!("INSERT INTO tags (name, colour) VALUES ('{name}', 'red')"));
    }
    assert_eq!(reaches(&mut logged), [0, 2, 4, 6]);
    log::prune(&mut logged.connection, Position(2), 100).unwrap();
    assert_eq!(reaches(&mut logged), [2, 4, 6]);
    log::prune(&mut logged.connection, Position(3), 100).unwrap();
    // Right before the oldest row it cannot be told whether a transaction ended; nobody was ever told such a position.
    assert_eq!(reaches(&mut logged), [3, 4, 6]);
    log::prune(&mut logged.connection, Position(6), 100).unwrap();
    assert_eq!(reaches(&mut logged), [5, 6]);
}

#[test]
fn a_part_of_the_log_ends_between_transactions() {
    let mut logged = Logged::new();
    for names in ["('a', 'x')", "('b', 'x'), ('c', 'x'), ('d', 'x')", "('e', 'x')", "('f', 'x')"] {
        logged.run(&format!("INSERT INTO tags (name, colour) VALUES {names}"));
    }
    let mut part = |after: i64, up_to: i64, enough: usize| {
        let read = logged.reader.read_part(&mut logged.connection, Position(after), Position(up_to), enough);
        let batch = read.unwrap().batch;
        (batch.changes.len(), batch.position.0)
    };
    assert_eq!(part(0, 10, 1), (1, 2));
    assert_eq!(part(0, 10, 3), (4, 6));
    assert_eq!(part(6, 8, 100), (1, 8));
    assert_eq!(part(6, 10, 2), (1, 8));
    assert_eq!(part(10, 10, 2), (0, 10));
}

// Installation.

#[test]
fn what_is_installed_is_not_installed_again() {
    let mut connection = database();
    let first = install(&mut connection, &tables());
    assert!(first.len() > 6, "{first:?}");
    assert_eq!(install(&mut connection, &tables()), [""; 0]);
    // The order in which resources are mounted does not matter.
    assert_eq!(install(&mut connection, &[Table::of::<Tag>(), note_table(), note_table()]), [""; 0]);
}

#[test]
fn what_an_epoch_handed_out_after_the_next_one_began_never_was() {
    let mut logged = Logged::new();
    let known = |logged: &mut Logged, epoch: Epoch, positions: &[i64]| -> Vec<bool> {
        let cursor = |position| Cursor { epoch, position: Position(position) };
        positions.iter().map(|at| log::knows(&mut logged.connection, cursor(*at)).unwrap()).collect()
    };
    let first = log::begin_epoch(&mut logged.connection).unwrap();
    logged.run("INSERT INTO tags (name, colour) VALUES ('a', 'red')");
    // As a start after a power cut that has taken position 4 along.
    let second = log::begin_epoch(&mut logged.connection).unwrap();
    assert_ne!(first, second);
    logged.run("INSERT INTO tags (name, colour) VALUES ('b', 'red')");
    assert_eq!(known(&mut logged, first, &[0, 2, 4]), [true, true, false]);
    assert_eq!(known(&mut logged, second, &[0, 2, 4]), [true, true, true]);
    for nobodys in [0, 1, u64::MAX] {
        assert_eq!(known(&mut logged, Epoch(nobodys), &[0, 2]), [false, false]);
    }
    // Once the log begins later than it did, it is forgotten.
    let third = log::begin_epoch(&mut logged.connection).unwrap();
    log::prune(&mut logged.connection, Position(3), 100).unwrap();
    log::begin_epoch(&mut logged.connection).unwrap();
    assert_eq!(known(&mut logged, first, &[0, 2]), [false, false]);
    assert_eq!(known(&mut logged, third, &[4]), [true]);
}

#[test]
fn a_changed_set_of_columns_replaces_the_triggers() {
    let mut connection = database();
    install(&mut connection, &[Table::of::<Brief>()]);
    let mut brief = Reader::new(&mut connection, vec![Table::of::<Brief>()]).unwrap();
    const ROW: &str = "INSERT INTO notes (id, rank, title, done, mood, created)
        VALUES (1, 1, 'a', 0, 'Z', '2026-01-31 12:00:00+00:00')";
    connection.batch_execute(ROW).unwrap();
    connection.batch_execute("UPDATE notes SET rank = 5").unwrap();
    assert_eq!(log::newest(&mut connection).unwrap(), Position(1), "the rank is not shown");
    assert_eq!(brief.read(&mut connection, Position(0)).unwrap().batch.changes.len(), 1);

    let statements = install(&mut connection, &tables());
    assert_eq!(statements.iter().filter(|sql| sql.starts_with("DROP TRIGGER")).count(), 6);
    assert_eq!(install(&mut connection, &tables()), [""; 0]);
    let reader = Reader::new(&mut connection, tables()).unwrap();
    connection.batch_execute("UPDATE notes SET rank = 6").unwrap();
    let read = reader.read(&mut connection, Position(1)).unwrap();
    assert_eq!(describe(&read.batch.changes), "notes 1 update rank: 5 -> 6\n");
    // The older row shows less than a note has: nobody can be told of it, and that is said.
    let read = reader.read(&mut connection, Position(0)).unwrap();
    assert_eq!(read.batch.lost, [ResourceId(0)]);
    // One that was made before cannot know the new layout, and says so as well.
    assert_eq!(brief.read(&mut connection, Position(1)).unwrap().batch.lost, [ResourceId(0)]);
    brief = Reader::new(&mut connection, vec![Table::of::<Brief>()]).unwrap();
    let read = brief.read(&mut connection, Position(0)).unwrap();
    assert_eq!((read.batch.changes.len(), read.batch.lost.len()), (1, 0));

    // Back to fewer: the log keeps its width, and a table that nobody shows any more has no triggers.
    let statements = install(&mut connection, &[Table::of::<Brief>()]);
    assert_eq!(statements.iter().filter(|sql| sql.starts_with("DROP TRIGGER")).count(), 12);
    connection.batch_execute("UPDATE notes SET rank = 7").unwrap();
    connection.batch_execute("INSERT INTO tags (name, colour) VALUES ('x', 'red')").unwrap();
    assert_eq!(log::newest(&mut connection).unwrap(), Position(2));
}

#[test]
fn a_row_of_the_log_that_is_missing_is_said_to_everybody() {
    let mut logged = Logged::new();
    logged.run("INSERT INTO tags (name, colour) VALUES ('x', 'red'), ('y', 'red'), ('z', 'red')");
    let seen = Position(logged.seen.0 - 4);
    let lost = |logged: &mut Logged| {
        let read = logged.reader.read(&mut logged.connection, seen).unwrap();
        (read.batch.changes.len(), read.batch.lost)
    };
    assert_eq!(lost(&mut logged), (3, vec![]));
    let everybody = vec![ResourceId(0), ResourceId(1)];
    for (at, left) in [(3, 2), (1, 1)] {
        logged
            .connection
            .batch_execute(&format!("DELETE FROM realtime_log WHERE seq = {}", seen.0 + at))
            .unwrap();
        assert_eq!(lost(&mut logged), (left, everybody.clone()));
    }
}

#[test]
fn two_resources_over_one_table_are_told_of_one_row() {
    let mut connection = database();
    let both = vec![note_table(), Table::of::<Brief>()];
    install(&mut connection, &both);
    let reader = Reader::new(&mut connection, both).unwrap();
    connection
        .batch_execute(
            "INSERT INTO notes (id, rank, title, done, mood, created)
                VALUES (1, 1, 'a', 0, 'Z', '2026-01-31 12:00:00+00:00')",
        )
        .unwrap();
    let changes = reader.read(&mut connection, Position(0)).unwrap().batch.changes;
    assert_eq!(changes.len(), 2);
    assert_eq!(changes[0].after_as::<Note>().unwrap().title, "a");
    assert_eq!(changes[1].after_as::<Brief>().unwrap().title, "a");
    assert_eq!(changes[1].after_as::<Brief>().unwrap().id, 1);
}

#[test]
fn a_missing_table_or_column_is_named() {
    let mut connection = database();
    connection.batch_execute("ALTER TABLE notes DROP COLUMN edited").unwrap();
    let error = log::outstanding(&mut connection, &Watch::over(&tables())).unwrap_err();
    assert!(matches!(error, InstallError::NoColumn { .. }));
    expect![[r#"the table "notes" has no column "edited", which the resource names"#]]
        .assert_eq(&error.to_string());
    connection.batch_execute("DROP TABLE tags; DROP TABLE notes").unwrap();
    let error = log::outstanding(&mut connection, &Watch::over(&tables())).unwrap_err();
    assert!(matches!(error, InstallError::NoTable(_)));
    expect![[r#"the database has no table "notes"; create it (run the migrations) before starting"#]]
        .assert_eq(&error.to_string());
    assert!(Reader::new(&mut connection, tables()).is_err(), "there is no log to read");
}

#[test]
fn a_generated_column_is_a_column() {
    let mut connection = database();
    connection
        .batch_execute(
            "ALTER TABLE notes DROP COLUMN text;
             ALTER TABLE notes ADD COLUMN text TEXT GENERATED ALWAYS AS (title || '!') VIRTUAL;",
        )
        .unwrap();
    let mut logged = Logged::over(connection);
    let row = "INSERT INTO notes (id, rank, title, done, mood, created)
        VALUES (1, 1, 'a', 0, 'Z', '2026-01-31 12:00:00+00:00');";
    logged.run(row);
    let read = logged.run("UPDATE notes SET title = 'b';");
    assert_eq!(
        describe(&read.batch.changes),
        "notes 1 update title: \"a\" -> \"b\", body: \"a!\" -> \"b!\"\n"
    );
}

/// What a random writer does.
#[derive(Clone, Debug)]
enum Write {
    Upsert(Box<Note>),
    Replace(Box<Note>),
    Update(i64, Box<Note>),
    Move(i64, i64),
    Delete(i64),
    Commit,
    Rollback,
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let note = || (0..4_i64, random::note()).prop_map(|(id, note)| Box::new(Note { id, ..note }));
    let write = prop_oneof![
        3 => note().prop_map(Write::Upsert),
        2 => note().prop_map(Write::Replace),
        3 => (0..4_i64, random::note()).prop_map(|(id, note)| Write::Update(id, Box::new(note))),
        1 => (0..4_i64, 0..4_i64).prop_map(|(from, to)| Write::Move(from, to)),
        2 => (0..4_i64).prop_map(Write::Delete),
        2 => Just(Write::Commit),
        1 => Just(Write::Rollback),
    ];
    prop::collection::vec(write, 1..30)
}

fn carry_out(connection: &mut SqliteConnection, write: Write) -> QueryResult<usize> {
    match write {
        Write::Upsert(note) => diesel::insert_into(notes::table)
            .values(&*note)
            .on_conflict(notes::id)
            .do_update()
            .set(&*note)
            .execute(connection),
        Write::Replace(note) => diesel::replace_into(notes::table).values(&*note).execute(connection),
        Write::Update(id, note) => {
            diesel::update(notes::table.find(id)).set(&Note { id, ..*note }).execute(connection)
        }
        Write::Move(from, to) => {
            diesel::update(notes::table.find(from)).set(notes::id.eq(to)).execute(connection)
        }
        Write::Delete(id) => diesel::delete(notes::table.find(id)).execute(connection),
        Write::Commit | Write::Rollback => Ok(0),
    }
}

proptest! {
    #![proptest_config(random::config(150))]

    #[test]
    fn the_log_replays_the_table(writes in writes()) {
        let mut logged = Logged::new();
        let mut mirror: BTreeMap<i64, Json> = BTreeMap::new();
        logged.connection.batch_execute("BEGIN IMMEDIATE").unwrap();
        for write in writes.into_iter().chain([Write::Commit]) {
            match write {
                Write::Rollback => logged.connection.batch_execute("ROLLBACK; BEGIN IMMEDIATE").unwrap(),
                Write::Commit => {
                    log::mark(&mut logged.connection, logged.seen).unwrap();
                    logged.connection.batch_execute("COMMIT; BEGIN IMMEDIATE").unwrap();
                    let read = logged.read();
                    prop_assert!(read.corrupt.is_empty() && !read.unmarked);
                    for change in read.batch.changes {
                        let json = |row: &Row| json!(object_of(row.as_ref()));
                        let key: i64 = change.key.to_json().as_i64().unwrap();
                        prop_assert_eq!(change.before.as_ref().map(json), mirror.remove(&key));
                        if let Some(after) = &change.after {
                            prop_assert_eq!(key_of(after), key);
                            mirror.insert(key, json(after));
                        }
                    }
                    let table: BTreeMap<i64, Json> = all(&mut logged.connection)
                        .iter()
                        .map(|row| (key_of(row), json!(object_of(row.as_ref()))))
                        .collect();
                    prop_assert_eq!(&mirror, &table);
                }
                // A key that is taken, or a NaN where there may be no NULL, is refused and changes nothing.
                write => drop(carry_out(&mut logged.connection, write)),
            }
        }
    }
}
