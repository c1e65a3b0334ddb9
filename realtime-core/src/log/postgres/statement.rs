//! What is asked of the log's tables, and how the answers are read.

use diesel::deserialize::Result;
use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Binary, Bool, Double, Nullable, Text};

use super::snapshot::{Mark, PgSnapshot};
use super::{cell, number, text};
use crate::cursor::{Cursor, Epoch, Position};
use crate::page_key::PageKey;
use crate::resource::Columns;
use crate::sql::Statement;

/// The newest mark, and how many rows of the log it does not see. Each half is a range of the index: a transaction that
/// stays open for long costs one look into it.
const NEWEST: &str = "WITH newest AS MATERIALIZED \
    (SELECT position, snapshot FROM realtime_mark ORDER BY position DESC LIMIT 1), \
    beyond AS MATERIALIZED (SELECT \
    (SELECT count(*) FROM realtime_log WHERE xid >= (SELECT pg_snapshot_xmax(snapshot) FROM newest)) + \
    (SELECT count(*) FROM realtime_log WHERE xid = ANY (ARRAY(SELECT pg_snapshot_xip(snapshot) FROM newest))) \
    AS rows)";

/// What a look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The newest mark's position.
    pub position: Position,
    /// Sees every transaction before that position, and none after it that has written to the log.
    pub snapshot: PgSnapshot,
    /// Another one has made a mark meanwhile: there is more to be seen.
    pub overtaken: bool,
}

impl Look {
    /// Reads the answer to [`look`].
    ///
    /// # Errors
    /// Where it is not one.
    pub fn read(columns: &dyn Columns<Pg>) -> Result<Self> {
        let (newest, beyond) = (number(columns, 0)?, number(columns, 1)?);
        let made = cell::<Option<i64>, Nullable<BigInt>>(columns, 2)?;
        Ok(Self {
            position: Position(made.unwrap_or(newest)),
            snapshot: text(columns, 3)?.parse()?,
            overtaken: beyond > 0 && made.is_none(),
        })
    }
}

/// Makes a mark if the newest one does not see everything, and tells the newest one.
///
/// One statement outside of a transaction, which is to be `READ COMMITTED`: what it counts and what it notes is one
/// snapshot.
pub fn look() -> Statement<Pg> {
    let mut statement = Statement::new(NEWEST);
    statement.sql(
        ", made AS (INSERT INTO realtime_mark (position, previous, snapshot) \
         SELECT newest.position + beyond.rows, newest.position, pg_current_snapshot() FROM newest, beyond \
         WHERE beyond.rows > 0 ON CONFLICT DO NOTHING RETURNING position) \
         SELECT newest.position, beyond.rows, made.position, pg_current_snapshot()::text \
         FROM newest CROSS JOIN beyond LEFT JOIN made ON TRUE",
    );
    statement
}

/// Where a transaction that keeps one snapshot stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    /// The newest mark that it sees.
    pub newest: Position,
    /// The rows of the log that it sees beyond the mark. Where there are none, what it reads is true at the mark.
    pub beyond: i64,
    /// Its snapshot.
    pub snapshot: PgSnapshot,
}

impl Stand {
    /// Reads the answer to [`stand`].
    ///
    /// # Errors
    /// Where it is not one.
    pub fn read(columns: &dyn Columns<Pg>) -> Result<Self> {
        let (newest, beyond) = (Position(number(columns, 0)?), number(columns, 1)?);
        Ok(Self { newest, beyond, snapshot: text(columns, 2)?.parse()? })
    }

    /// The mark that has to be made for what it reads to be true at one.
    pub fn mark(&self) -> Mark {
        Mark { position: Position(self.newest.0 + self.beyond), snapshot: self.snapshot.clone() }
    }
}

/// Asks a transaction that keeps one snapshot where it stands.
pub fn stand() -> Statement<Pg> {
    let mut statement = Statement::new(NEWEST);
    statement.sql(" SELECT newest.position, beyond.rows, pg_current_snapshot()::text FROM newest, beyond");
    statement
}

/// Makes a mark after another one. Answers its position; nothing where another one has made one meanwhile.
pub fn make_mark(previous: Position, mark: &Mark) -> Statement<Pg> {
    let mut statement = Statement::new("INSERT INTO realtime_mark (position, previous, snapshot) VALUES (");
    statement.bind::<BigInt, _>(mark.position.0).sql(", ").bind::<BigInt, _>(previous.0).sql(", ");
    statement.bind::<Text, _>(mark.snapshot.text().to_owned());
    statement.sql("::pg_snapshot) ON CONFLICT DO NOTHING RETURNING position");
    statement
}

impl Mark {
    /// Reads one of the answers to [`marks`], [`mark_at`] and [`newest_mark`].
    ///
    /// # Errors
    /// Where it is not one.
    pub fn read(columns: &dyn Columns<Pg>) -> Result<Self> {
        Ok(Self { position: Position(number(columns, 0)?), snapshot: text(columns, 1)?.parse()? })
    }
}

/// The mark at a position, if there is one.
pub fn mark_at(position: Position) -> Statement<Pg> {
    let mut statement =
        Statement::new("SELECT position, snapshot::text FROM realtime_mark WHERE position = ");
    statement.bind::<BigInt, _>(position.0);
    statement
}

/// The newest mark.
pub fn newest_mark() -> Statement<Pg> {
    Statement::new("SELECT position, snapshot::text FROM realtime_mark ORDER BY position DESC LIMIT 1")
}

/// The marks after a position up to another one, in order.
pub fn marks(after: Position, up_to: Position, at_most: i64) -> Statement<Pg> {
    let mut statement =
        Statement::new("SELECT position, snapshot::text FROM realtime_mark WHERE position > ");
    statement.bind::<BigInt, _>(after.0).sql(" AND position <= ").bind::<BigInt, _>(up_to.0);
    statement.sql(" ORDER BY position LIMIT ").bind::<BigInt, _>(at_most);
    statement
}

/// The rows of the log between two marks, in no order: those that the one snapshot does not see and the other one does.
pub fn rows(after: &PgSnapshot, up_to: &PgSnapshot) -> Statement<Pg> {
    let mut statement = Statement::new("");
    for (at, condition) in
        ["xid >= pg_snapshot_xmax(", "xid = ANY (ARRAY(SELECT pg_snapshot_xip("].into_iter().enumerate()
    {
        statement.sql(if at == 0 { "" } else { " UNION ALL " });
        statement
            .sql("SELECT seq, xid::text::bigint, layout, operation, before, after FROM realtime_log WHERE ");
        statement.sql(condition).bind::<Text, _>(after.text().to_owned());
        statement.sql(if at == 0 { "::pg_snapshot)" } else { "::pg_snapshot)))" });
        statement.sql(" AND pg_visible_in_snapshot(xid, ").bind::<Text, _>(up_to.text().to_owned());
        statement.sql("::pg_snapshot)");
    }
    statement
}

/// The layouts: see [`Layout`](super::Layout).
pub fn layouts() -> Statement<Pg> {
    Statement::new("SELECT id, table_name, columns FROM realtime_layout")
}

/// Removes the oldest marks, a few at a time: those before a mark that is not after `published`, and that is either not
/// after `more_than` or was made so many seconds ago.
pub fn prune_marks(published: Position, more_than: Position, seconds: u32, at_most: i64) -> Statement<Pg> {
    let mut statement = Statement::new(
        "DELETE FROM realtime_mark WHERE position IN (SELECT position FROM (\
         SELECT position, lead(position) OVER in_order AS next, lead(at) OVER in_order AS next_at \
         FROM (SELECT position, at FROM realtime_mark ORDER BY position LIMIT ",
    );
    statement
        .bind::<BigInt, _>(at_most + 1)
        .sql(") AS oldest WINDOW in_order AS (ORDER BY position)) AS pairs WHERE next <= ");
    statement.bind::<BigInt, _>(published.0).sql(" AND (next <= ").bind::<BigInt, _>(more_than.0);
    statement
        .sql(" OR next_at <= now() - make_interval(secs => ")
        .bind::<Double, _>(f64::from(seconds))
        .sql(")))");
    statement
}

/// Removes rows of the log that are before the oldest mark, a few at a time.
pub fn prune_rows(at_most: i64) -> Statement<Pg> {
    let mut statement = Statement::new(
        "DELETE FROM realtime_log WHERE (xid, seq) IN (SELECT xid, seq FROM realtime_log WHERE xid < \
         (SELECT pg_snapshot_xmin(snapshot) FROM realtime_mark ORDER BY position LIMIT 1) ORDER BY xid, seq LIMIT ",
    );
    statement.bind::<BigInt, _>(at_most).sql(")");
    statement
}

/// The newest row of the log that the open transaction has written; 0 where there is none.
pub fn own_newest() -> Statement<Pg> {
    Statement::new(
        "SELECT coalesce(max(seq), 0) FROM realtime_log WHERE xid = pg_current_xact_id_if_assigned()",
    )
}

/// Forgets what the open transaction has written after a row of the log, so that nobody is told of it.
pub fn forget_own_after(seq: i64) -> Statement<Pg> {
    let mut statement =
        Statement::new("DELETE FROM realtime_log WHERE xid = pg_current_xact_id_if_assigned() AND seq > ");
    statement.bind::<BigInt, _>(seq);
    statement
}

/// The cluster and the database that a connection is to. Another one has other transactions of the same numbers.
const CLUSTER: &str = "(SELECT system_identifier FROM pg_control_system()) || '-' || \
    (SELECT oid FROM pg_database WHERE datname = current_database())";

/// What is another one whenever the database may have been set back to an earlier state: the server has been started (with
/// the files of yesterday), has gone over to another timeline (a recovery to some moment, a standby that was promoted), or
/// the log's tables have been made anew (a dump that was restored).
const RUN: &str = "substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '-' || \
    extract(epoch FROM pg_postmaster_start_time()) || '-' || 'realtime_mark'::regclass::oid";

/// Whose log it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody's yet.
    New,
    /// That of the cluster it is on.
    Own,
    /// That of another cluster or database: its marks mean nothing here.
    Foreign,
}

impl Origin {
    /// Reads the answer to [`origin`].
    ///
    /// # Errors
    /// Where it is not one.
    pub fn read(columns: &dyn Columns<Pg>) -> Result<Self> {
        Ok(match cell::<Option<bool>, Nullable<Bool>>(columns, 0)? {
            None => Self::New,
            Some(true) => Self::Own,
            Some(false) => Self::Foreign,
        })
    }
}

/// Asks whose log it is.
pub fn origin() -> Statement<Pg> {
    let mut statement = Statement::new("SELECT (SELECT cluster = ");
    statement.sql(CLUSTER).sql(" FROM realtime_run ORDER BY id DESC LIMIT 1)");
    statement
}

/// Empties the log and begins it anew, with the first mark and the first run.
pub fn begin_anew() -> Vec<Statement<Pg>> {
    let mut run = Statement::new("INSERT INTO realtime_run (id, cluster, name, since) SELECT 1, ");
    run.sql(CLUSTER).sql(", ").sql(RUN).sql(", 0");
    vec![
        Statement::new("DELETE FROM realtime_log"),
        Statement::new("DELETE FROM realtime_mark"),
        Statement::new("DELETE FROM realtime_epoch"),
        Statement::new("DELETE FROM realtime_run"),
        Statement::new(
            "INSERT INTO realtime_mark (position, previous, snapshot) VALUES (0, -1, pg_current_snapshot())",
        ),
        run,
    ]
}

/// Notes where the log stands when a run begins, unless it is noted: before anybody makes a mark in it.
///
/// Positions after that may have been handed out in an earlier run for what the database no longer knows of.
pub fn enter_run() -> Statement<Pg> {
    let mut statement = Statement::new(
        "INSERT INTO realtime_run (id, cluster, name, since) \
         SELECT newest.id + 1, newest.cluster, present.name, (SELECT max(position) FROM realtime_mark) \
         FROM (SELECT id, cluster, name FROM realtime_run ORDER BY id DESC LIMIT 1) AS newest, (SELECT ",
    );
    statement.sql(CLUSTER).sql(" AS cluster, ").sql(RUN);
    // Of two who do it at once the second finds it done.
    statement.sql(
        " AS name) AS present WHERE newest.cluster = present.cluster AND newest.name <> present.name \
         ON CONFLICT DO NOTHING",
    );
    statement
}

/// Begins an epoch, which is a service's own, in the present run. `epoch` is positive.
pub fn begin_epoch(epoch: i64) -> Vec<Statement<Pg>> {
    let mut begin = Statement::new("INSERT INTO realtime_epoch (epoch, run) SELECT ");
    begin.bind::<BigInt, _>(epoch).sql(", max(id) FROM realtime_run");
    let mut forget = Statement::new(
        "DELETE FROM realtime_epoch WHERE epoch IN \
         (SELECT epoch FROM realtime_epoch ORDER BY run DESC, at DESC OFFSET ",
    );
    forget.bind::<BigInt, _>(EPOCHS).sql(")");
    let forget_runs =
        Statement::new("DELETE FROM realtime_run WHERE id < (SELECT min(run) FROM realtime_epoch)");
    vec![begin, forget, forget_runs]
}

/// Epochs that are known, at most. Each start of a service begins one.
const EPOCHS: i64 = 10_000;

/// What a position is known by: the run that its epoch was last seen in, and no later one that began before it.
const IS_KNOWN: &str =
    "NOT EXISTS (SELECT 1 FROM realtime_run AS later WHERE later.id > own.run AND later.since < ";

/// Carries an epoch over to the present run, if everything up to the position that its service has come to is there yet.
/// Answers one row if so.
pub fn keep_epoch(reached: Cursor) -> Statement<Pg> {
    let mut statement = Statement::new(
        "UPDATE realtime_epoch AS own SET run = newest.id, at = now() \
         FROM (SELECT id, cluster, name FROM realtime_run ORDER BY id DESC LIMIT 1) AS newest WHERE epoch = ",
    );
    statement.bind::<BigInt, _>(number_of(reached.epoch)).sql(" AND newest.cluster = ").sql(CLUSTER);
    statement.sql(" AND newest.name = ").sql(RUN).sql(" AND ").sql(IS_KNOWN);
    statement.bind::<BigInt, _>(reached.position.0).sql(") RETURNING own.epoch");
    statement
}

/// Asks for the mark at a cursor's position, which is answered if the cursor is one of this log.
pub fn known_mark(cursor: Cursor) -> Statement<Pg> {
    let mut statement = mark_at(cursor.position);
    statement.sql(" AND EXISTS (SELECT 1 FROM realtime_epoch AS own WHERE epoch = ");
    statement.bind::<BigInt, _>(number_of(cursor.epoch)).sql(" AND ").sql(IS_KNOWN);
    statement.bind::<BigInt, _>(cursor.position.0).sql("))");
    statement
}

/// As it is kept. Beyond the positive numbers there is none, and none is 0.
fn number_of(epoch: Epoch) -> i64 {
    i64::try_from(epoch.0).unwrap_or(0)
}

/// Keeps random bytes as the key of the database's page cursors, unless there is one.
pub fn make_page_key(random: &[u8; PageKey::BYTES]) -> Statement<Pg> {
    let mut statement = Statement::new("INSERT INTO realtime_key (id, key) VALUES (1, ");
    statement.bind::<Binary, _>(random.to_vec()).sql(") ON CONFLICT DO NOTHING");
    statement
}

/// The key of the database's page cursors: read it with [`read_page_key`].
pub fn page_key() -> Statement<Pg> {
    Statement::new("SELECT key FROM realtime_key")
}

/// What [`page_key`] has answered.
///
/// # Errors
/// Where what is kept is no key.
pub fn read_page_key(columns: &dyn Columns<Pg>) -> Result<PageKey> {
    Ok(PageKey::kept(&cell::<Vec<u8>, Binary>(columns, 0)?)?)
}
