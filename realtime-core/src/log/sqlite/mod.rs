//! The change log on SQLite.
//!
//! `realtime_log(seq, layout, operation, before_0 …, after_0 …)` holds the images column by column, without a type, so
//! that every value is stored exactly as it was: an image read back gives what a `SELECT` of the row would have given.
//! Which column of which table a `before_n` is, the row's *layout* says: `realtime_layout(id, table_name, columns)`.
//! SQLite has one writer at a time, so `seq` is commit order.
//!
//! Of a database view the log has what triggers of its tables see of it: rows before (`before_n`) and after (`after_n`) a
//! change, each with what it was looked for by in the first column of the other image.

mod replaced;

use std::collections::{BTreeMap, BTreeSet};

use diesel::connection::LoadConnection;
use diesel::row::Field as _;
use diesel::sql_types::{BigInt, Binary, Integer, Nullable, Text};
use diesel::sqlite::{Sqlite, SqliteConnection};
use diesel::{QueryResult, RunQueryDsl};

use self::replaced::Replaceable;
use super::Entry;
use super::sighting::{Sightings, Token};
use super::watch::{EyesOf, Link, Viewed, literal, quoted};
pub use super::watch::{InstallError, Watch};
use crate::__private::read;
use crate::change::{Batch, Change, ResourceId, coalesce};
use crate::cursor::{Cursor, Epoch, Position};
use crate::page_key::PageKey;
use crate::resource::Columns;
use crate::sql::{Statement, Table};

/// The statements that bring the log of a database up to date; none where it is.
///
/// An application that prefers migrations puts them into one; otherwise they are run at start-up.
///
/// # Errors
/// Where a table or a column that a resource names is not there, the database is not in UTF-8, or it refuses to be read.
pub fn outstanding(connection: &mut SqliteConnection, watch: &Watch) -> Result<Vec<String>, InstallError> {
    let encoding = names(connection, "SELECT encoding AS name FROM pragma_encoding")?;
    if let Some(other) = encoding.into_iter().find(|encoding| encoding != "UTF-8") {
        return Err(InstallError::Encoding(other));
    }
    for (table, columns) in &watch.tables {
        check(connection, table, columns, "table")?;
    }
    for (view, viewed) in &watch.views {
        viewed.check(view)?;
        check(connection, view, &viewed.columns, "view")?;
        let bases = viewed.bases();
        for (table, links) in &bases {
            let columns: Vec<&str> = links.iter().map(|(_, link)| link.column).collect();
            check(connection, table, &columns, "table")?;
        }
        for table in tables_of_view(connection, view)? {
            if !bases.keys().any(|base| base.eq_ignore_ascii_case(&table)) {
                return Err(InstallError::UnnamedBase { view: (*view).to_owned(), table });
            }
        }
    }
    let mut statements = Vec::new();
    let present = names(connection, "SELECT name FROM pragma_table_info('realtime_log')")?;
    if present.is_empty() {
        statements.push(
            "CREATE TABLE realtime_log (seq INTEGER PRIMARY KEY, layout INTEGER NOT NULL, operation INTEGER NOT NULL)"
                .to_owned(),
        );
    }
    for side in ["before", "after"] {
        for at in 0..watch.width() {
            let column = format!("{side}_{at}");
            if !present.contains(&column) {
                statements.push(format!("ALTER TABLE realtime_log ADD COLUMN {column}"));
            }
        }
    }
    let known =
        names(connection, "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'realtime%'")?;
    if !known.iter().any(|name| name == "realtime_layout") {
        statements.push(
            "CREATE TABLE realtime_layout (id INTEGER PRIMARY KEY, table_name TEXT NOT NULL, columns TEXT NOT NULL)"
                .to_owned(),
        );
    }
    if !known.iter().any(|name| name == "realtime_time") {
        statements
            .push("CREATE TABLE realtime_time (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL)".to_owned());
    }
    if !known.iter().any(|name| name == crate::idempotency::TABLE) {
        // `AUTOINCREMENT`: the newest one may be forgotten, and its number must not be that of the next one.
        statements.push(format!(
            "CREATE TABLE {} (seq INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, \
             request TEXT NOT NULL, answer TEXT NOT NULL, at INTEGER NOT NULL)",
            crate::idempotency::TABLE
        ));
    }
    let epochs = names(connection, "SELECT name FROM pragma_table_info('realtime_epoch')")?;
    if !epochs.is_empty() && !epochs.contains(&"since".to_owned()) {
        // It had one row, and nobody resumes from before this version.
        statements.push("DROP TABLE realtime_epoch".to_owned());
    }
    if !epochs.contains(&"since".to_owned()) {
        statements.push(
            "CREATE TABLE realtime_epoch (id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, since INTEGER NOT NULL)"
                .to_owned(),
        );
    }
    if !known.iter().any(|name| name == "realtime_key") {
        statements.push(
            "CREATE TABLE realtime_key (id INTEGER PRIMARY KEY CHECK (id = 1), \
             key BLOB NOT NULL CHECK (length(key) = 32))"
                .to_owned(),
        );
    }
    let layouts = if known.iter().any(|name| name == "realtime_layout") {
        names(connection, "SELECT CAST(id AS TEXT) AS name FROM realtime_layout")?
    } else {
        Vec::new()
    };
    // In sets, each in the order in which it is made: SQLite fires the newest first.
    let mut wanted: Vec<Vec<(String, String)>> = Vec::new();
    let mut overtaken: BTreeSet<String> = BTreeSet::new();
    let mut replaceable = Vec::new();
    for (id, name, columns) in watch.layouts() {
        if !layouts.contains(&id.to_string()) {
            statements.push(format!(
                "INSERT INTO realtime_layout (id, table_name, columns) VALUES ({id}, {}, {})",
                literal(name),
                literal(&serde_json::Value::from(columns).to_string())
            ));
        }
        if let Some(viewed) = watch.views.get(name) {
            for (base, links) in viewed.bases() {
                let numbering = numbering(connection, base)?;
                wanted.push(view_triggers(name, viewed, base, &links, numbering.as_deref()));
            }
        } else {
            overtaken.extend(overtaken_triggers(connection, name)?);
            let table = Replaceable::of(connection, name, columns, id)?;
            wanted.push(triggers(name, columns, id, &table));
            replaceable.push(table);
        }
    }
    statements.extend(Replaceable::outstanding(connection, &replaceable)?);
    let installed = pairs(
        connection,
        format!("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND {OURS} ORDER BY name"),
    )?;
    let is_there =
        |trigger: &(String, String)| installed.contains(trigger) && !overtaken.contains(&trigger.0);
    let (kept, made): (Vec<_>, Vec<_>) = wanted.iter().partition(|set| set.iter().all(is_there));
    // A trigger of a table that is no longer watched would only cost its writers.
    let dropped = installed.iter().filter(|trigger| !kept.iter().any(|set| set.contains(trigger)));
    statements.extend(dropped.map(|(name, _)| format!("DROP TRIGGER {}", quoted(name))));
    statements.extend(made.into_iter().flatten().map(|(_, sql)| sql.clone()));
    Ok(statements)
}

/// Is it there, what it is to be, and does it have the columns?
fn check(
    connection: &mut SqliteConnection,
    name: &str,
    columns: &[&str],
    kind: &str,
) -> Result<(), InstallError> {
    // `xinfo`: generated columns are columns too.
    let present = names(connection, &format!("SELECT name FROM pragma_table_xinfo({})", literal(name)))?;
    if present.is_empty() {
        return Err(InstallError::NoTable(name.to_owned()));
    }
    let found =
        format!("SELECT type AS name FROM sqlite_master WHERE name = {} COLLATE NOCASE", literal(name));
    if !names(connection, &found)?.iter().any(|found| found == kind) {
        let name = name.to_owned();
        return Err(if kind == "view" {
            InstallError::NotAView(name)
        } else {
            InstallError::NotATable(name)
        });
    }
    match columns.iter().find(|column| !present.iter().any(|name| name == *column)) {
        Some(column) => Err(InstallError::NoColumn { table: name.to_owned(), column: (*column).to_owned() }),
        None => Ok(()),
    }
}

/// The tables that a view reads, also through other views: SQLite tells which it would open.
fn tables_of_view(connection: &mut SqliteConnection, view: &str) -> QueryResult<Vec<String>> {
    let mut explain = Statement::new("");
    explain.sql(format!("EXPLAIN SELECT * FROM {}", quoted(view)));
    let mut pages = BTreeSet::new();
    for row in connection.load(explain)? {
        let row = row?;
        let cells = Cells(&row);
        // `p2` is the first page of a table or an index, `p3` the database: 0 is the main one.
        if text(&cells, 1)? == "OpenRead" && cell::<i64, BigInt>(&cells, 4)? == 0 {
            pages.insert(cell::<i64, BigInt>(&cells, 3)?.to_string());
        }
    }
    let pages = pages.into_iter().collect::<Vec<_>>().join(", ");
    names(
        connection,
        &format!("SELECT DISTINCT tbl_name AS name FROM sqlite_master WHERE rootpage IN ({pages})"),
    )
}

/// The column of a table whose values SQLite gives out by itself, and what the next one is.
///
/// A trigger before an insert is not told of it. Where a view has rows that refer to a row before there is one, they are
/// found by that.
fn numbering(connection: &mut SqliteConnection, table: &str) -> QueryResult<Option<Vec<String>>> {
    let key = format!("SELECT name FROM pragma_table_xinfo({}) WHERE pk > 0", literal(table));
    let typed = format!("{key} AND upper(type) = 'INTEGER'");
    let ([_], Some(column)) = (&names(connection, &key)?[..], names(connection, &typed)?.into_iter().next())
    else {
        return Ok(None);
    };
    let newest = format!("coalesce((SELECT max({}) FROM {}), 0)", quoted(&column), quoted(table));
    let counts = format!(
        "SELECT name FROM sqlite_master WHERE name = {} COLLATE NOCASE AND sql LIKE '%AUTOINCREMENT%'",
        literal(table)
    );
    let next = match names(connection, &counts)?.into_iter().next() {
        None => format!("1 + {newest}"),
        Some(name) => {
            let given = format!("SELECT max(seq) FROM sqlite_sequence WHERE name = {}", literal(&name));
            format!("1 + max({newest}, coalesce(({given}), 0))")
        }
    };
    Ok(Some(vec![column, next]))
}

/// Tells our triggers from the application's, which may bear any name.
const OURS: &str = "(name LIKE 'realtime!_%' ESCAPE '!' \
    AND (sql LIKE '%INSERT INTO realtime!_log (layout, operation, %' ESCAPE '!' \
    OR sql LIKE '%INSERT INTO realtime!_replaced (layout, %' ESCAPE '!'))";

/// Our triggers of a table that are older than one of the application's.
///
/// SQLite fires the newest first. One of the application's that came before ours and changed the row once more would
/// have its change logged before the change that it was called for.
fn overtaken_triggers(connection: &mut SqliteConnection, table: &str) -> QueryResult<Vec<String>> {
    let of_table = format!("type = 'trigger' AND tbl_name = {} COLLATE NOCASE", literal(table));
    names(
        connection,
        &format!(
            "SELECT name FROM sqlite_master WHERE {of_table} AND {OURS} \
             AND rowid < (SELECT max(rowid) FROM sqlite_master WHERE {of_table} AND NOT {OURS})"
        ),
    )
}

/// The triggers of a table: name and text.
fn triggers(
    table: &str,
    columns: &[&str],
    layout: i64,
    replaceable: &Replaceable<'_>,
) -> Vec<(String, String)> {
    let image = |side: &str| -> (String, String) {
        let targets: Vec<String> = (0..columns.len())
            .map(|at| format!("{}_{at}", if side == "OLD" { "before" } else { "after" }))
            .collect();
        let values: Vec<String> = columns.iter().map(|column| format!("{side}.{}", quoted(column))).collect();
        (targets.join(", "), values.join(", "))
    };
    let (before, old) = image("OLD");
    let (after, new) = image("NEW");
    // `IS NOT` takes the column's collation, and one without case would hide a change of case. 1 and 1.0 are equal to
    // it, and both zeros, which is how a column of one type stores them too.
    let changed: Vec<String> = columns
        .iter()
        .map(|column| format!("OLD.{0} IS NOT NEW.{0} COLLATE BINARY", quoted(column)))
        .collect();
    let kinds = [
        (Entry::Insert, "insert", "INSERT", replaceable.logged(), String::new(), after.clone(), new.clone()),
        (
            Entry::Update,
            "update",
            "UPDATE",
            String::new(),
            format!("WHEN {} ", changed.join(" OR ")),
            format!("{before}, {after}"),
            format!("{old}, {new}"),
        ),
        (Entry::Delete, "delete", "DELETE", String::new(), String::new(), before, old),
    ];
    let logging = kinds
        .into_iter()
        .map(|(entry, suffix, event, first, condition, targets, values)| {
            let name = format!("realtime_{table}_{suffix}");
            let sql = format!(
                "CREATE TRIGGER {} AFTER {event} ON {} {condition}BEGIN {first}\
                 INSERT INTO realtime_log (layout, operation, {targets}) VALUES ({layout}, {}, {values}); END",
                quoted(&name),
                quoted(table),
                entry.code()
            );
            (name, sql)
        });
    logging.chain(replaceable.triggers()).collect()
}

/// The six triggers of a table that a view reads: name and text. They note which rows the view has before and after a row
/// of the table is changed, as far as it has a part in them.
fn view_triggers(
    view: &str,
    viewed: &Viewed,
    table: &str,
    links: &[(usize, &Link)],
    numbering: Option<&[String]>,
) -> Vec<(String, String)> {
    let layout = viewed.layout(view);
    let columns: Vec<String> =
        viewed.columns.iter().map(|column| format!("seen.{}", quoted(column))).collect();
    let columns = columns.join(", ");
    let targets = |side: &str| {
        let targets: Vec<String> = (0..viewed.columns.len()).map(|at| format!("{side}_{at}")).collect();
        targets.join(", ")
    };
    // By what rows are looked for stands where the other image would.
    let rows = |entry: Entry, place: usize, of: &str, value: &str, only: &str| {
        let (image, token) = match entry {
            Entry::Seen => (targets("before"), "after_0"),
            _ => (targets("after"), "before_0"),
        };
        format!(
            "INSERT INTO realtime_log (layout, operation, {image}, {token}) \
             SELECT {layout}, {}, {columns}, '{place} ' || quote({value}) FROM {} AS seen \
             WHERE seen.{} = {value}{only}; ",
            entry.code(),
            quoted(view),
            quoted(of)
        )
    };
    let again = |place: usize, value: &str, only: &str| {
        format!(
            "INSERT INTO realtime_log (layout, operation, before_0) \
             SELECT {layout}, {}, '{place} ' || quote({value}) WHERE {value} IS NOT NULL{only}; ",
            Entry::Again.code()
        )
    };
    let mut triggers = Vec::new();
    for event in ["INSERT", "UPDATE", "DELETE"] {
        let (mut before, mut after) = (String::new(), String::new());
        for (place, link) in links {
            let column = quoted(link.column);
            let (old, new) = (format!("OLD.{column}"), format!("NEW.{column}"));
            let moved = format!(" AND {new} IS NOT {old} COLLATE BINARY");
            let mut values = Vec::new();
            if event != "INSERT" {
                values.push((old, ""));
            }
            if event != "DELETE" {
                values.push((new, if event == "UPDATE" { &moved } else { "" }));
            }
            for (value, only) in &values {
                before.push_str(&rows(Entry::Seen, *place, link.of, value, only));
                after.push_str(&again(*place, value, only));
                after.push_str(&rows(Entry::Found, *place, link.of, value, only));
            }
            if let (Some([numbered, next]), "INSERT") = (numbering, event)
                && numbered == link.column
            {
                before.push_str(&rows(Entry::Seen, *place, link.of, &format!("({next})"), ""));
            }
        }
        for (time, statements) in [("BEFORE", before), ("AFTER", after)] {
            let name = format!("realtime_{view} of {table} {time} {event}");
            let sql = format!(
                "CREATE TRIGGER {} {time} {event} ON {} BEGIN {statements}END",
                quoted(&name),
                quoted(table)
            );
            triggers.push((name, sql));
        }
    }
    triggers
}

fn names(connection: &mut SqliteConnection, sql: &str) -> QueryResult<Vec<String>> {
    let mut statement = Statement::new("");
    statement.sql(sql.to_owned());
    let rows = connection.load(statement)?;
    rows.map(|row| text(&Cells(&row?), 0)).collect()
}

fn pairs(connection: &mut SqliteConnection, sql: String) -> QueryResult<Vec<(String, String)>> {
    let mut statement = Statement::new("");
    statement.sql(sql);
    let rows = connection.load(statement)?;
    rows.map(|row| {
        let row = row?;
        Ok((text(&Cells(&row), 0)?, text(&Cells(&row), 1)?))
    })
    .collect()
}

/// A column of a table of the log, which only the log itself writes: that it cannot be read is a fault.
fn cell<T, ST>(columns: &dyn Columns<Sqlite>, column: usize) -> QueryResult<T>
where
    T: diesel::deserialize::FromSql<ST, Sqlite>,
{
    read::<T, ST, Sqlite>(columns, column).map_err(diesel::result::Error::DeserializationError)
}

fn text(columns: &dyn Columns<Sqlite>, column: usize) -> QueryResult<String> {
    cell::<String, Text>(columns, column)
}

/// A result row of Diesel's, as columns.
pub struct Cells<'a, R>(pub &'a R);

impl<'a, R: diesel::row::Row<'a, Sqlite>> Columns<Sqlite> for Cells<'_, R> {
    fn visit(
        &self,
        column: usize,
        visit: &mut dyn FnMut(Option<<Sqlite as diesel::backend::Backend>::RawValue<'_>>),
    ) {
        if let Some(field) = self.0.get(column) {
            visit(field.value());
        }
    }
}

/// Where the images begin in a result row: after `seq`, `layout` and `operation`.
const FIRST_IMAGE: usize = 3;

/// How the log of a database is read.
pub struct Reader {
    tables: Vec<Table<Sqlite>>,
    eyes: EyesOf,
    layouts: BTreeMap<i64, Layout>,
    /// That of a row whose layout another process has installed since: whose row it is cannot be said.
    unknown: Layout,
    /// The text of the `SELECT`, as wide as the log is.
    select: String,
    /// The columns of one image.
    width: usize,
}

/// What has been read of a transaction.
#[derive(Default)]
struct Open {
    changes: Vec<Change>,
    sightings: Sightings,
}

/// Who looks at the rows of one layout.
type Layout = Vec<(ResourceId, Option<Places>)>;

/// Where a resource finds its fields in a result row. It has none where the layout was made for others that show less.
struct Places {
    before: Vec<usize>,
    after: Vec<usize>,
}

/// What was read of the log at one look.
#[derive(Debug, Default)]
pub struct Read {
    /// Whole transactions.
    pub batch: Batch,
    /// The last row is not a mark: other writers' rows that count as one transaction once a mark follows them.
    pub unmarked: bool,
    /// The resources of which a row could not be decoded, and why. They are also the batch's lost ones.
    pub corrupt: Vec<(ResourceId, String)>,
}

impl Reader {
    /// Looks up how the rows of the log are laid out.
    ///
    /// # Errors
    /// Where the database refuses, or the log is not installed.
    pub fn new(connection: &mut SqliteConnection, tables: Vec<Table<Sqlite>>) -> QueryResult<Self> {
        let width = names(
            connection,
            "SELECT name FROM pragma_table_info('realtime_log') WHERE name LIKE 'before%'",
        )?
        .len();
        let mut select = "SELECT seq, layout, operation".to_owned();
        for side in ["before", "after"] {
            for at in 0..width {
                select.push_str(&format!(", {side}_{at}"));
            }
        }
        select.push_str(" FROM realtime_log WHERE seq > ");
        let unknown = (0..tables.len()).map(|at| (ResourceId(at), None)).collect();
        let eyes = EyesOf::resources(&tables);
        let mut reader = Self { tables, eyes, layouts: BTreeMap::new(), unknown, select, width };
        reader.read_layouts(connection)?;
        Ok(reader)
    }

    fn read_layouts(&mut self, connection: &mut SqliteConnection) -> QueryResult<()> {
        let rows = connection.load(Statement::new("SELECT id, table_name, columns FROM realtime_layout"))?;
        for row in rows {
            let row = row?;
            let cells = Cells(&row);
            let id = cell::<i64, BigInt>(&cells, 0)?;
            let (table_name, columns) = (text(&cells, 1)?, text(&cells, 2)?);
            let columns: Vec<String> = serde_json::from_str(&columns)
                .map_err(|error| diesel::result::Error::DeserializationError(Box::new(error)))?;
            let resources = self
                .tables
                .iter()
                .enumerate()
                .filter(|(_, table)| table.descriptor().table == table_name)
                .map(|(at, table)| {
                    let fields = table.descriptor().fields.iter();
                    let places: Option<Vec<usize>> = fields
                        .map(|field| columns.iter().position(|column| *column == field.column))
                        .collect();
                    (ResourceId(at), places.map(|places| self.places(&places)))
                })
                .collect();
            self.layouts.insert(id, resources);
        }
        Ok(())
    }

    /// Reads what was written after a position, in commit order, each transaction's changes coalesced.
    ///
    /// # Errors
    /// Where the database refuses.
    pub fn read(&self, connection: &mut SqliteConnection, after: Position) -> QueryResult<Read> {
        self.read_part(connection, after, Position(i64::MAX), usize::MAX)
    }

    /// Reads what was written after a position up to another one, but stops at the end of a transaction once it has
    /// read so many rows.
    ///
    /// # Errors
    /// Where the database refuses.
    pub fn read_part(
        &self,
        connection: &mut SqliteConnection,
        after: Position,
        up_to: Position,
        enough: usize,
    ) -> QueryResult<Read> {
        let mut statement = Statement::new("");
        statement.sql(self.select.clone()).bind::<BigInt, _>(after.0);
        statement.sql(" AND seq <= ").bind::<BigInt, _>(up_to.0).sql(" ORDER BY seq");
        let mut rows = 0;
        let mut read = Read { batch: Batch { position: after, ..Batch::default() }, ..Read::default() };
        let mut open = Open::default();
        for row in connection.load(statement)? {
            let row = row?;
            let cells = Cells(&row);
            let position = Position(cell::<i64, BigInt>(&cells, 0)?);
            // Rows are numbered without a gap. Of what is missing nobody knows whose it was.
            if position.0 != read.batch.position.0 + 1 {
                let missing =
                    format!("the rows after {} are missing, up to {}", read.batch.position.0, position.0);
                read.corrupt.extend((0..self.tables.len()).map(|at| (ResourceId(at), missing.clone())));
            }
            let layout = cell::<i64, BigInt>(&cells, 1)?;
            let operation = cell::<i32, Integer>(&cells, 2)?;
            read.batch.position = position;
            rows += 1;
            match Entry::from_code(operation) {
                Some(Entry::Mark) => {
                    self.close(&mut open, &mut read.batch);
                    read.unmarked = false;
                    if rows >= enough {
                        break;
                    }
                    continue;
                }
                Some(entry) => self.decode(&cells, layout, entry, position, &mut open, &mut read.corrupt),
                None => read.corrupt.extend(
                    self.resources_of(layout)
                        .iter()
                        .map(|(id, _)| (*id, format!("operation {operation} in row {}", position.0))),
                ),
            }
            read.unmarked = true;
        }
        self.close(&mut open, &mut read.batch);
        for (resource, _) in &read.corrupt {
            if !read.batch.lost.contains(resource) {
                read.batch.lost.push(*resource);
            }
        }
        Ok(read)
    }

    /// Where the columns of a layout are in a result row: after three others, first all before, then all after.
    fn places(&self, columns: &[usize]) -> Places {
        let from = |start: usize| columns.iter().map(|column| start + column).collect();
        Places { before: from(FIRST_IMAGE), after: from(FIRST_IMAGE + self.width) }
    }

    fn resources_of(&self, layout: i64) -> &[(ResourceId, Option<Places>)] {
        self.layouts.get(&layout).unwrap_or(&self.unknown)
    }

    fn close(&self, open: &mut Open, batch: &mut Batch) {
        if !open.changes.is_empty() {
            batch.changes.extend(coalesce(std::mem::take(&mut open.changes), |resource, row| {
                row.value(self.tables[resource.0].descriptor().key).into_owned()
            }));
        }
        batch.changes.extend(open.sightings.end());
    }

    fn decode(
        &self,
        cells: &dyn Columns<Sqlite>,
        layout: i64,
        entry: Entry,
        position: Position,
        open: &mut Open,
        corrupt: &mut Vec<(ResourceId, String)>,
    ) {
        let token = |column: usize| -> QueryResult<Option<Token>> {
            let token = cell::<Option<String>, Nullable<Text>>(cells, column)?;
            Ok(token.and_then(|token| {
                let (link, value) = token.split_once(' ')?;
                Some(Token { link: link.parse().ok()?, value: value.as_bytes().to_vec() })
            }))
        };
        for (id, places) in self.resources_of(layout) {
            let table = &self.tables[id.0];
            let Some(places) = places else {
                corrupt.push((*id, format!("row {}: its layout is not that of the resource", position.0)));
                continue;
            };
            let mut read = || -> diesel::deserialize::Result<()> {
                let (before, after) = match entry {
                    Entry::Mark => return Ok(()),
                    Entry::Again => {
                        open.sightings.look_again(*id, token(FIRST_IMAGE)?, position);
                        return Ok(());
                    }
                    Entry::Seen | Entry::Found => {
                        let (at, by) = match entry {
                            Entry::Seen => (&places.before, FIRST_IMAGE + self.width),
                            _ => (&places.after, FIRST_IMAGE),
                        };
                        let (row, eyes) = (table.decode(cells, at)?, self.eyes.of(*id, table.descriptor()));
                        open.sightings.see(eyes, entry, token(by)?, row, position);
                        return Ok(());
                    }
                    Entry::Insert => (None, Some(table.decode(cells, &places.after)?)),
                    Entry::Update => (
                        Some(table.decode(cells, &places.before)?),
                        Some(table.decode(cells, &places.after)?),
                    ),
                    Entry::Delete => (Some(table.decode(cells, &places.before)?), None),
                };
                if let Some(row) = before.as_ref().or(after.as_ref()) {
                    let key = row.value(table.descriptor().key).into_owned();
                    open.changes.push(Change { resource: *id, key, before, after, cursor: position });
                }
                Ok(())
            };
            if let Err(error) = read() {
                corrupt.push((*id, format!("row {}: {error}", position.0)));
            }
        }
    }
}

/// The position after the newest row of the log.
///
/// # Errors
/// Where the database refuses.
pub fn newest(connection: &mut SqliteConnection) -> QueryResult<Position> {
    number(connection, Statement::new("SELECT coalesce(max(seq), 0) FROM realtime_log")).map(Position)
}

/// Forgets what the open transaction has written after a position, so that nobody is told of it.
///
/// # Errors
/// Where the database refuses.
pub fn forget_after(connection: &mut SqliteConnection, position: Position) -> QueryResult<()> {
    let mut statement = Statement::<Sqlite>::new("DELETE FROM realtime_log WHERE seq > ");
    statement.bind::<BigInt, _>(position.0);
    statement.execute(connection).map(drop)
}

/// Begins an epoch at the newest position: at every start.
///
/// A database file may be that of yesterday: a backup that was restored, or what a power cut has left. What is written
/// from then on gets positions that have been handed out before, for other changes. An epoch that was begun at a
/// position says that what earlier ones handed out after it never was.
///
/// # Errors
/// Where the database refuses.
pub fn begin_epoch(connection: &mut SqliteConnection) -> QueryResult<Epoch> {
    let since = close_unmarked(connection)?;
    // Nothing is recovered from before the log's oldest row, so what an epoch says of it is of no interest.
    Statement::new(
        "DELETE FROM realtime_epoch WHERE id < (SELECT max(id) FROM realtime_epoch WHERE since < \
         (SELECT coalesce(min(seq), 1) - 1 FROM realtime_log))",
    )
    .execute(connection)?;
    // Positive, so that it is the same number as unsigned.
    let mut statement =
        Statement::new("INSERT INTO realtime_epoch (epoch, since) SELECT random() & 9223372036854775807, ");
    statement.bind::<BigInt, _>(since.0).sql(" RETURNING epoch");
    number(connection, statement).map(|epoch| Epoch(epoch.unsigned_abs()))
}

/// The key of the database's page cursors. The first service that starts makes it, of random bytes.
///
/// # Errors
/// Where the database refuses, or what is kept is no key.
pub fn page_key(connection: &mut SqliteConnection, random: &[u8; PageKey::BYTES]) -> QueryResult<PageKey> {
    let mut statement = Statement::<Sqlite>::new("INSERT OR IGNORE INTO realtime_key (id, key) VALUES (1, ");
    statement.bind::<Binary, _>(random.to_vec()).sql(")");
    statement.execute(connection)?;
    let mut rows = connection.load(Statement::new("SELECT key FROM realtime_key"))?;
    let row = rows.next().ok_or(diesel::result::Error::NotFound)??;
    let key = cell::<Vec<u8>, Binary>(&Cells(&row), 0)?;
    PageKey::kept(&key).map_err(|error| diesel::result::Error::DeserializationError(Box::new(error)))
}

/// Is the position one of the present log, handed out in an epoch that is known and before the next one began?
///
/// # Errors
/// Where the database refuses.
pub fn knows(connection: &mut SqliteConnection, cursor: Cursor) -> QueryResult<bool> {
    // Beyond it there is none.
    let Ok(epoch) = i64::try_from(cursor.epoch.0) else { return Ok(false) };
    let mut statement = Statement::new("SELECT count(*) FROM realtime_epoch AS own WHERE epoch = ");
    statement.bind::<BigInt, _>(epoch);
    statement.sql(
        " AND NOT EXISTS (SELECT 1 FROM realtime_epoch AS later WHERE later.id > own.id AND later.since < ",
    );
    statement.bind::<BigInt, _>(cursor.position.0).sql(")");
    Ok(number(connection, statement)? > 0)
}

/// Marks the end of a transaction, if it wrote to the log since a position. Gives the position after the mark.
///
/// # Errors
/// Where the database refuses.
pub fn mark(connection: &mut SqliteConnection, since: Position) -> QueryResult<Position> {
    let now = newest(connection)?;
    if now == since {
        return Ok(now);
    }
    number(
        connection,
        Statement::new("INSERT INTO realtime_log (layout, operation) VALUES (0, 0) RETURNING seq"),
    )
    .map(Position)
}

/// Marks the end of what other connections have written, which know of no marks: what is found at one look counts as
/// one transaction. Gives the position after it.
///
/// # Errors
/// Where the database refuses.
pub fn close_unmarked(connection: &mut SqliteConnection) -> QueryResult<Position> {
    let newest = newest(connection)?;
    if is_marked(connection, newest)? {
        return Ok(newest);
    }
    mark(connection, Position(newest.0 - 1))
}

/// Is a position the end of a transaction that has been recorded? Otherwise what is there may still be counted as one
/// transaction together with what comes after it, and nothing may be said to be true in between.
///
/// # Errors
/// Where the database refuses.
pub fn is_marked(connection: &mut SqliteConnection, position: Position) -> QueryResult<bool> {
    let mut statement = Statement::new("SELECT count(*) FROM realtime_log WHERE operation <> 0 AND seq = ");
    statement.bind::<BigInt, _>(position.0);
    Ok(number(connection, statement)? == 0)
}

/// Does the log hold everything that was written after a position, and was that the end of a transaction? What comes
/// after it can then be told.
///
/// # Errors
/// Where the database refuses.
pub fn reaches_back_to(connection: &mut SqliteConnection, position: Position) -> QueryResult<bool> {
    if position > newest(connection)? {
        return Ok(false);
    }
    // Rows are numbered without a gap, since only the oldest are ever removed and never the newest: a rollback gives
    // its numbers back.
    let oldest = number(connection, Statement::new("SELECT coalesce(min(seq), 1) FROM realtime_log"))?;
    Ok(oldest - 1 <= position.0 && is_marked(connection, position)?)
}

/// Notes that the log had come to a position at a time, so that what is older can be told from it later. Times are
/// seconds since 1970; those of one position do not change.
///
/// # Errors
/// Where the database refuses.
pub fn note_time(connection: &mut SqliteConnection, position: Position, at: i64) -> QueryResult<()> {
    let mut statement = Statement::new("INSERT OR IGNORE INTO realtime_time (seq, at) VALUES (");
    statement.bind::<BigInt, _>(position.0).sql(", ").bind::<BigInt, _>(at).sql(")");
    statement.execute(connection).map(drop)
}

/// The last position that was noted at a time or before it, the beginning where there is none. Notes from before it are
/// forgotten.
///
/// # Errors
/// Where the database refuses.
pub fn position_at(connection: &mut SqliteConnection, at: i64) -> QueryResult<Position> {
    let mut statement = Statement::new("SELECT coalesce(max(seq), 0) FROM realtime_time WHERE at <= ");
    statement.bind::<BigInt, _>(at);
    let position = number(connection, statement)?;
    let mut statement = Statement::new("DELETE FROM realtime_time WHERE seq < ");
    statement.bind::<BigInt, _>(position);
    statement.execute(connection)?;
    Ok(Position(position))
}

/// Removes the oldest rows up to a position, a few at a time so that no writer waits for it. Gives their number.
///
/// The newest row of all stays: the next one is numbered after it, and a log without rows would begin anew.
///
/// # Errors
/// Where the database refuses.
pub fn prune(connection: &mut SqliteConnection, up_to: Position, at_most: usize) -> QueryResult<usize> {
    let at_most = i64::try_from(at_most).unwrap_or(i64::MAX);
    let up_to = up_to.0.min(newest(connection)?.0 - 1);
    let mut statement =
        Statement::new("DELETE FROM realtime_log WHERE seq IN (SELECT seq FROM realtime_log WHERE seq <= ");
    statement.bind::<BigInt, _>(up_to).sql(" ORDER BY seq LIMIT ").bind::<BigInt, _>(at_most).sql(")");
    statement.execute(connection)
}

/// Writes something and removes it again: a commit of it fails where the disk takes no more.
///
/// # Errors
/// Where the database refuses.
pub fn probe(connection: &mut SqliteConnection) -> QueryResult<()> {
    // More than fits the pages that are there.
    Statement::new("INSERT INTO realtime_time (seq, at) VALUES (-1, zeroblob(65536))").execute(connection)?;
    Statement::new("DELETE FROM realtime_time WHERE seq = -1").execute(connection).map(drop)
}

/// A number that changes when another connection commits.
///
/// # Errors
/// Where the database refuses.
pub fn data_version(connection: &mut SqliteConnection) -> QueryResult<i64> {
    number(connection, Statement::new("PRAGMA data_version"))
}

/// A number that changes with the schema.
///
/// # Errors
/// Where the database refuses.
pub fn schema_version(connection: &mut SqliteConnection) -> QueryResult<i64> {
    number(connection, Statement::new("PRAGMA schema_version"))
}

fn number(connection: &mut SqliteConnection, statement: Statement<Sqlite>) -> QueryResult<i64> {
    let mut rows = connection.load(statement)?;
    let row = rows.next().ok_or(diesel::result::Error::NotFound)??;
    cell::<i64, BigInt>(&Cells(&row), 0)
}
