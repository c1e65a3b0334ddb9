//! Rows that SQLite removes to make room for others, as `INSERT OR REPLACE` and `UPDATE OR REPLACE` ask for. Where a
//! connection has not set `PRAGMA recursive_triggers` no trigger is called for them.
//!
//! So before a row is written, those that are in its way are noted in a table beside the log; after it has been written,
//! those of them that have gone are logged as deleted. Where it was not written (`OR IGNORE`), or one of them was updated
//! instead (`ON CONFLICT DO UPDATE`), no such trigger is called, and what was noted is forgotten before the next row.

use std::collections::BTreeSet;

use diesel::QueryResult;
use diesel::sqlite::SqliteConnection;

use super::{Entry, literal, names, pairs, quoted};

/// What is in the way of the row that is being written.
pub(super) const TABLE: &str = "realtime_replaced";

/// A watched table, as far as rows of it may be replaced.
pub(super) struct Replaceable<'a> {
    table: &'a str,
    columns: &'a [&'a str],
    layout: i64,
    /// What rows are told apart by: the number that SQLite gives them, else their primary key.
    identity: Vec<String>,
    /// Of each unique index the columns, with their collations.
    uniques: Vec<Vec<(String, String)>>,
    /// The columns that decide what a row is in the way of.
    held: BTreeSet<String>,
}

impl<'a> Replaceable<'a> {
    pub(super) fn of(
        connection: &mut SqliteConnection,
        table: &'a str,
        columns: &'a [&'a str],
        layout: i64,
    ) -> QueryResult<Self> {
        let name = literal(table);
        let present = names(connection, &format!("SELECT name FROM pragma_table_xinfo({name})"))?;
        let key = format!("SELECT name FROM pragma_table_xinfo({name}) WHERE pk > 0 ORDER BY pk");
        let kept_by_key = format!("SELECT name FROM pragma_table_list({name}) WHERE schema = 'main' AND wr");
        let identity = if names(connection, &kept_by_key)?.is_empty() {
            // A column may bear one of the names, hardly all three.
            let free = ["rowid", "_rowid_", "oid"]
                .into_iter()
                .find(|number| !present.iter().any(|column| column.eq_ignore_ascii_case(number)));
            free.into_iter().map(str::to_owned).collect()
        } else {
            names(connection, &key)?
        };
        let mut held: BTreeSet<String> = names(connection, &key)?.into_iter().collect();
        // Of a partial index any column may decide whether a row is in it; of a generated column what its value is.
        let any = format!(
            "SELECT name FROM pragma_index_list({name}) WHERE \"unique\" AND partial \
             UNION ALL SELECT name FROM pragma_table_xinfo({name}) WHERE hidden > 1"
        );
        if !names(connection, &any)?.is_empty() {
            held.extend(present.iter().cloned());
        }
        let mut uniques = Vec::new();
        let indexes = names(
            connection,
            &format!("SELECT name FROM pragma_index_list({name}) WHERE \"unique\" ORDER BY name"),
        )?;
        for index in indexes {
            let parts = format!("FROM pragma_index_xinfo({}) WHERE key", literal(&index));
            // One over an expression is not looked through: what it is over is nowhere but in its SQL.
            if names(connection, &format!("SELECT 'x' AS name {parts} AND cid = -2"))?.is_empty() {
                let unique = pairs(connection, format!("SELECT name, coll {parts} ORDER BY seqno"))?;
                held.extend(unique.iter().map(|(column, _)| column.clone()));
                uniques.push(unique);
            }
        }
        Ok(Self { table, columns, layout, identity, uniques, held })
    }

    /// The columns that the table needs for what is noted of this one.
    fn needs(&self) -> impl Iterator<Item = String> {
        let keys = (0..self.identity.len()).map(|at| format!("key_{at}"));
        keys.chain((0..self.columns.len()).map(|at| format!("before_{at}")))
    }

    /// The statements by which [`TABLE`] comes to hold what is noted of the tables.
    pub(super) fn outstanding(
        connection: &mut SqliteConnection,
        tables: &[Self],
    ) -> QueryResult<Vec<String>> {
        let mut present =
            names(connection, &format!("SELECT name FROM pragma_table_info({})", literal(TABLE)))?;
        let mut statements = Vec::new();
        if present.is_empty() {
            statements.push(format!("CREATE TABLE {TABLE} (layout INTEGER NOT NULL)"));
        }
        for column in tables.iter().flat_map(Self::needs) {
            if !present.contains(&column) {
                statements.push(format!("ALTER TABLE {TABLE} ADD COLUMN {column}"));
                present.push(column);
            }
        }
        Ok(statements)
    }

    /// What an inserted row has replaced is logged with it: a statement for the body of the trigger.
    pub(super) fn logged(&self) -> String {
        if self.identity.is_empty() {
            return String::new();
        }
        let images: Vec<String> = (0..self.columns.len()).map(|at| format!("before_{at}")).collect();
        let is_gone = match self.number() {
            // Only the number can have been in the way: the new row has it.
            Some(number) => format!("gone.key_0 = NEW.{}", quoted(number)),
            // The new one may have the place of the one that has gone.
            None => format!(
                "NOT EXISTS (SELECT 1 FROM {} AS o WHERE {} AND NOT ({}))",
                quoted(self.table),
                self.same("=", |at, _| format!("gone.key_{at}")),
                self.same("IS", |_, key| format!("NEW.{key}")),
            ),
        };
        format!(
            "INSERT INTO realtime_log (layout, operation, {images}) SELECT layout, {}, {images} FROM {TABLE} AS gone \
             WHERE layout = {} AND {is_gone}; ",
            Entry::Delete.code(),
            self.layout,
            images = images.join(", "),
        )
    }

    /// What SQLite calls the number of a row, where nothing else of it can be in the way of another.
    fn number(&self) -> Option<&str> {
        match &self.identity[..] {
            [number] if self.uniques.is_empty() => Some(number),
            _ => None,
        }
    }

    /// Is the row `o` the same as another one? `other` gives what each part of what rows are told apart by is compared with: of its
    /// place and its quoted name.
    fn same(&self, operator: &str, other: impl Fn(usize, &str) -> String) -> String {
        let parts = self.identity.iter().enumerate().map(|(at, key)| {
            let key = quoted(key);
            format!("o.{key} {operator} {}", other(at, &key))
        });
        parts.collect::<Vec<_>>().join(" AND ")
    }

    /// The triggers that note what is in the way, and the one that logs what an updated row has replaced: name and text.
    /// The last one is to be called before the trigger that logs the update, hence to be made after it.
    pub(super) fn triggers(&self) -> Vec<(String, String)> {
        if self.identity.is_empty() {
            return Vec::new();
        }
        let trigger = |suffix: &str, event: &str, condition: &str, body: &str| {
            let name = format!("realtime_{}_{suffix}", self.table);
            let sql = format!(
                "CREATE TRIGGER {} {event} ON {} {condition}BEGIN {body}END",
                quoted(&name),
                quoted(self.table)
            );
            (name, sql)
        };
        let mut conflicts = vec![self.same("IS", |_, key| format!("NEW.{key}"))];
        for unique in &self.uniques {
            let same = unique.iter().map(|(column, collation)| {
                format!("o.{0} = NEW.{0} COLLATE {1}", quoted(column), quoted(collation))
            });
            conflicts.push(same.collect::<Vec<_>>().join(" AND "));
        }
        let columns: Vec<String> =
            self.columns.iter().map(|column| format!("o.{}", quoted(column))).collect();
        let keys: Vec<String> = self.identity.iter().map(|key| format!("o.{}", quoted(key))).collect();
        let note = |more: &str| {
            format!(
                "DELETE FROM {TABLE} WHERE layout = {layout}; \
                 INSERT INTO {TABLE} (layout, {targets}) SELECT {layout}, {keys}, {columns} FROM {table} AS o \
                 WHERE ({conflicts}){more}; ",
                layout = self.layout,
                targets = self.needs().collect::<Vec<_>>().join(", "),
                keys = keys.join(", "),
                columns = columns.join(", "),
                table = quoted(self.table),
                conflicts = conflicts.join(" OR "),
            )
        };
        let numbered = match self.number() {
            // A row that is to be given its number has none in its way; -1 stands for that. What another has left is to be
            // forgotten all the same.
            Some(number) => format!(
                "WHEN NEW.{} <> -1 OR EXISTS (SELECT 1 FROM {TABLE} WHERE layout = {}) ",
                quoted(number),
                self.layout
            ),
            None => String::new(),
        };
        let mut triggers = vec![trigger("insert_replaces", "BEFORE INSERT", &numbered, &note(""))];
        if !self.held.is_empty() {
            let held: Vec<String> = self.held.iter().map(|column| quoted(column)).collect();
            let (before, after) = (
                format!("BEFORE UPDATE OF {}", held.join(", ")),
                format!("AFTER UPDATE OF {}", held.join(", ")),
            );
            let moved = held.iter().map(|column| format!("OLD.{column} IS NOT NEW.{column} COLLATE BINARY"));
            let moved = format!("WHEN {} ", moved.collect::<Vec<_>>().join(" OR "));
            let others = format!(" AND NOT ({})", self.same("IS", |_, key| format!("OLD.{key}")));
            triggers.push(trigger("update_replaces", &before, &moved, &note(&others)));
            triggers.push(trigger("update_replaced", &after, &moved, &self.logged()));
        }
        triggers
    }
}
