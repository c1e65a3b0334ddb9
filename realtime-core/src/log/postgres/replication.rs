//! Logical replication in place of triggers: what it needs of the server, and the statements of whoever copies what it
//! sends into the log.
//!
//! The rows of the log are the same, each with the number of the transaction that wrote it, so that marks mean the same.
//! They come later than the transaction, though: a mark may only be made of a snapshot once everything that it sees has
//! been copied. [`barrier`] takes a snapshot and ends after all that it sees.

use std::collections::{BTreeMap, BTreeSet};

use diesel::deserialize::Result;
use diesel::pg::Pg;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Integer, Nullable, Text};
use serde::Deserialize;

use super::pgoutput::{Captured, LOST, SILENCE, TOLD, WORD};
use super::snapshot::PgSnapshot;
use super::{cell, number, text};
use crate::cursor::Position;
use crate::log::watch::{InstallError, Watch, layout_id, quoted};
use crate::resource::Columns;
use crate::sql::Statement;

/// The oldest version that sends values in binary form and the messages of [`barrier`].
const OLDEST: i32 = 140_000;

/// What [`inspect_replication`] finds.
#[derive(Debug, Deserialize)]
pub struct Replicated {
    version: i32,
    schema: Option<String>,
    database: u32,
    wal_level: String,
    role: String,
    may_replicate: bool,
    /// Of each watched table, its schema.
    schemas: BTreeMap<String, String>,
    /// Watched tables and their partitions that do not log whole rows.
    partial: Vec<(String, String)>,
    /// Columns of watched tables that are computed.
    generated: Vec<(String, String)>,
    /// Of each publication of ours the tables, and whether it is as it was made.
    publications: BTreeMap<String, Publication>,
}

#[derive(Debug, Deserialize)]
struct Publication {
    is_right: bool,
    tables: BTreeSet<(String, String)>,
}

impl Replicated {
    /// The name of the publication: each schema with a log has its own.
    pub fn publication(&self) -> String {
        publication(self.schema())
    }

    /// The name of the slot: all databases of a server share one space.
    pub fn slot(&self) -> String {
        format!("realtime_{}_{:012x}", self.database, layout_id(self.schema(), &[]))
    }

    /// Where the log is.
    pub fn schema(&self) -> &str {
        self.schema.as_deref().unwrap_or_default()
    }

    /// Where a watched table is.
    pub fn schema_of(&self, table: &str) -> Option<&str> {
        self.schemas.get(table).map(String::as_str)
    }

    /// The statements that make the server send what is watched. The log's own tables are there by then.
    ///
    /// # Errors
    /// Where the server, the role or a table is not fit for it: what is to be set.
    pub(super) fn outstanding(&self, watch: &Watch) -> std::result::Result<Vec<String>, InstallError> {
        if self.version < OLDEST {
            return Err(InstallError::OldForReplication(self.version / 10_000));
        }
        if self.wal_level != "logical" {
            return Err(InstallError::WalLevel(self.wal_level.clone()));
        }
        if !self.may_replicate {
            return Err(InstallError::NotReplicating(quoted(&self.role)));
        }
        for (table, column) in &self.generated {
            if watch.tables.get(table.as_str()).is_some_and(|columns| columns.contains(&column.as_str())) {
                let (table, column) = (table.clone(), column.clone());
                return Err(InstallError::Generated { table, column });
            }
        }
        let relation = |schema: &str, table: &str| format!("{}.{}", quoted(schema), quoted(table));
        let mut statements: Vec<String> = self
            .partial
            .iter()
            .map(|(schema, table)| format!("ALTER TABLE {} REPLICA IDENTITY FULL", relation(schema, table)))
            .collect();
        let mut tables: BTreeSet<(String, String)> =
            self.schemas.iter().map(|(table, schema)| (schema.clone(), table.clone())).collect();
        tables.insert((self.schema().to_owned(), TOLD.to_owned()));
        let name = self.publication();
        let found = self.publications.get(&name);
        if found.is_none_or(|found| !found.is_right || found.tables != tables) {
            if found.is_some() {
                statements.push(format!("DROP PUBLICATION {name}"));
            }
            let tables: Vec<String> = tables.iter().map(|(schema, table)| relation(schema, table)).collect();
            statements.push(format!(
                "CREATE PUBLICATION {name} FOR TABLE {} \
                 WITH (publish = 'insert, update, delete', publish_via_partition_root = true)",
                tables.join(", ")
            ));
        }
        Ok(statements)
    }
}

/// The name of a schema's publication.
pub(super) fn publication(schema: &str) -> String {
    format!("realtime_{:012x}", layout_id(schema, &[]))
}

/// Asks what is there: one row with one text, JSON of [`Replicated`].
pub fn inspect_replication(watch: &Watch) -> Statement<Pg> {
    let mut statement = Statement::new(
        "WITH named AS (SELECT value AS name, to_regclass(quote_ident(value)) AS oid FROM json_array_elements_text(",
    );
    let tables: Vec<&str> = watch.tables.keys().copied().collect();
    statement.bind::<Text, _>(serde_json::Value::from(tables).to_string());
    statement.sql(
        "::json)) \
         SELECT json_build_object(\
         'version', current_setting('server_version_num')::int, \
         'schema', current_schema(), \
         'database', (SELECT oid::bigint FROM pg_database WHERE datname = current_database()), \
         'wal_level', current_setting('wal_level'), \
         'role', current_user, \
         'may_replicate', (SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = current_user), \
         'schemas', (SELECT coalesce(json_object_agg(named.name, n.nspname), '{}') FROM named \
            JOIN pg_class c ON c.oid = named.oid JOIN pg_namespace n ON n.oid = c.relnamespace), \
         'partial', (SELECT coalesce(json_agg(DISTINCT jsonb_build_array(n.nspname, c.relname)), '[]') FROM named \
            CROSS JOIN LATERAL (SELECT named.oid AS relid UNION SELECT t.relid::oid FROM pg_partition_tree(named.oid) t) p \
            JOIN pg_class c ON c.oid = p.relid JOIN pg_namespace n ON n.oid = c.relnamespace \
            WHERE c.relreplident <> 'f' AND c.relkind IN ('r', 'p')), \
         'generated', (SELECT coalesce(json_agg(json_build_array(named.name, a.attname)), '[]') FROM named \
            JOIN pg_attribute a ON a.attrelid = named.oid WHERE a.attgenerated <> '' AND NOT a.attisdropped), \
         'publications', (SELECT coalesce(json_object_agg(p.pubname, json_build_object(\
            'is_right', p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubviaroot AND NOT p.puballtables, \
            'tables', (SELECT coalesce(json_agg(json_build_array(n.nspname, c.relname)), '[]') \
                FROM pg_publication_rel r JOIN pg_class c ON c.oid = r.prrelid \
                JOIN pg_namespace n ON n.oid = c.relnamespace WHERE r.prpubid = p.oid))), '{}') \
            FROM pg_publication p WHERE p.pubname LIKE 'realtime\\_%')\
         )::text",
    );
    statement
}

/// Names all that is watched.
pub fn watch_id(watch: &Watch) -> i64 {
    let layouts: Vec<String> = watch.layouts().map(|(layout, ..)| layout.to_string()).collect();
    layout_id("", &layouts.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Where the copying stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotState {
    /// The slot.
    pub slot: String,
    /// What is to be copied: see [`watch_id`].
    pub watch: i64,
    /// The end of the last transaction of which rows have been copied, as a place in the server's log.
    pub copied: u64,
    /// The server has been told that everything before this place has been copied.
    pub confirmed: u64,
    /// Does the server still have what comes after it?
    pub is_usable: bool,
    /// Does somebody read from it?
    pub is_active: bool,
}

impl SlotState {
    /// Reads the answer to [`slot_state`].
    ///
    /// # Errors
    /// Where it is not one.
    pub fn read(columns: &dyn Columns<Pg>) -> Result<Self> {
        Ok(Self {
            slot: text(columns, 0)?,
            watch: number(columns, 1)?,
            copied: number(columns, 2)?.unsigned_abs(),
            confirmed: number(columns, 3)?.unsigned_abs(),
            is_usable: cell::<bool, Bool>(columns, 4)?,
            is_active: cell::<bool, Bool>(columns, 5)?,
        })
    }
}

/// Asks where the copying stands; no row where it has not begun.
pub fn slot_state() -> Statement<Pg> {
    Statement::new(
        "SELECT r.slot, r.watch, (r.copied - '0/0'::pg_lsn)::bigint, \
         coalesce((s.confirmed_flush_lsn - '0/0'::pg_lsn)::bigint, 0), \
         s.slot_name IS NOT NULL AND s.plugin = 'pgoutput' AND coalesce(s.wal_status <> 'lost', TRUE), \
         coalesce(s.active, FALSE) FROM realtime_slot r LEFT JOIN pg_replication_slots s \
         ON s.slot_name = r.slot AND s.database = current_database()",
    )
}

/// Notes what is to be copied from now on: whoever copies something else fails to.
pub fn note_watch(watch: &Watch) -> Statement<Pg> {
    let id = watch_id(watch);
    let mut statement = Statement::new("UPDATE realtime_slot SET watch = ");
    statement.bind::<BigInt, _>(id).sql(" WHERE watch <> ").bind::<BigInt, _>(id);
    statement
}

/// Held by whoever makes a slot, so that two do not.
pub fn lock_slot() -> Statement<Pg> {
    Statement::new("SELECT pg_advisory_lock(8243101811408989542)::text")
}

/// Ends [`lock_slot`].
pub fn unlock_slot() -> Statement<Pg> {
    Statement::new("SELECT pg_advisory_unlock(8243101811408989542)::text")
}

/// Forgets where the copying stands, before its slot goes. Whoever ends in between is found out by that.
pub fn forget_slot() -> Statement<Pg> {
    Statement::new("DELETE FROM realtime_slot")
}

/// Drops a slot that is there. It is refused while somebody reads from it.
pub fn drop_slot(slot: &str) -> Statement<Pg> {
    let mut statement = Statement::new(
        "SELECT pg_drop_replication_slot(slot_name)::text FROM pg_replication_slots WHERE slot_name = ",
    );
    statement.bind::<Text, _>(slot.to_owned());
    statement
}

/// Creates a slot. Outside of a transaction. Answers where it begins.
pub fn create_slot(slot: &str) -> Statement<Pg> {
    let mut statement =
        Statement::new("SELECT (lsn - '0/0'::pg_lsn)::bigint FROM pg_create_logical_replication_slot(");
    statement.bind::<Text, _>(slot.to_owned()).sql(", 'pgoutput')");
    statement
}

/// Notes that the copying begins.
pub fn begin_copying(slot: &str, watch: &Watch, copied: u64) -> Statement<Pg> {
    let mut begun = Statement::new("INSERT INTO realtime_slot (slot, watch, copied) VALUES (");
    begun.bind::<Text, _>(slot.to_owned()).sql(", ").bind::<BigInt, _>(watch_id(watch));
    begun.sql(", '0/0'::pg_lsn + ").bind::<BigInt, _>(copied.cast_signed()).sql("::bigint::numeric)");
    begun
}

/// Writes to the log that rows of every table that is watched may have changed, and nobody knows which.
pub fn lose(watch: &Watch) -> Statement<Pg> {
    let layouts: Vec<i64> = watch.layouts().map(|(layout, ..)| layout).collect();
    let mut statement = Statement::new("INSERT INTO realtime_log (layout, operation) SELECT layout, ");
    statement.bind::<Integer, _>(LOST).sql(" FROM unnest(").bind::<Array<BigInt>, _>(layouts);
    statement.sql("::bigint[]) AS lost (layout)");
    statement
}

/// Notes how far has been copied since `before`. Answers nothing where somebody else has copied or begun anew meanwhile, or
/// where something else is to be copied.
pub fn note_copied(slot: &str, watch: &Watch, before: u64, copied: u64) -> Statement<Pg> {
    let mut statement = Statement::new("");
    bind_note(&mut statement, slot, watch, before, copied);
    statement
}

fn bind_note(statement: &mut Statement<Pg>, slot: &str, watch: &Watch, before: u64, copied: u64) {
    statement.sql("UPDATE realtime_slot SET copied = '0/0'::pg_lsn + ");
    statement.bind::<BigInt, _>(copied.cast_signed()).sql("::bigint::numeric WHERE slot = ");
    statement.bind::<Text, _>(slot.to_owned()).sql(" AND watch = ").bind::<BigInt, _>(watch_id(watch));
    statement.sql(" AND copied = '0/0'::pg_lsn + ").bind::<BigInt, _>(before.cast_signed());
    statement.sql("::bigint::numeric RETURNING slot");
}

/// Asks for the number of the transaction that is to begin next, in 64 bits.
pub fn next_transaction() -> Statement<Pg> {
    Statement::new("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
}

/// The whole number of a transaction of which 32 bits are known, by one that is not far from it.
pub fn whole_xid(xid: u32, near: u64) -> u64 {
    let low = u32::try_from(near & u64::from(u32::MAX)).unwrap_or_default();
    near.saturating_add_signed(i64::from(xid.wrapping_sub(low).cast_signed()))
}

/// Writes rows to the log, in their order, each with the number of its transaction.
pub fn copy(rows: Vec<(u64, Captured)>) -> Statement<Pg> {
    let mut statement = Statement::new(INTO_LOG);
    bind_rows(&mut statement, rows);
    statement.sql(AS_ROWS).sql(IN_ORDER);
    statement
}

/// Writes rows to the log and notes how far has been copied, in one statement: [`copy`] and [`note_copied`] at once. It
/// writes no row where the latter would answer nothing.
pub fn copy_noted(
    rows: Vec<(u64, Captured)>,
    slot: &str,
    watch: &Watch,
    before: u64,
    copied: u64,
) -> Statement<Pg> {
    let mut statement = Statement::new("WITH noted AS (");
    bind_note(&mut statement, slot, watch, before, copied);
    statement.sql(") ").sql(INTO_LOG);
    bind_rows(&mut statement, rows);
    statement.sql(AS_ROWS).sql(" CROSS JOIN noted").sql(IN_ORDER);
    statement
}

const INTO_LOG: &str = "INSERT INTO realtime_log (xid, layout, operation, before, after) \
    SELECT r.xid::text::xid8, r.layout, r.operation, r.before, r.after FROM unnest(";
const AS_ROWS: &str = "::bytea[]) WITH ORDINALITY AS r (xid, layout, operation, before, after, place)";
const IN_ORDER: &str = " ORDER BY r.place";

fn bind_rows(statement: &mut Statement<Pg>, rows: Vec<(u64, Captured)>) {
    let count = rows.len();
    let (mut xids, mut layouts, mut operations) =
        (Vec::with_capacity(count), Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut before, mut after) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for (xid, row) in rows {
        xids.push(xid.cast_signed());
        layouts.push(row.layout);
        operations.push(row.operation);
        before.push(row.before);
        after.push(row.after);
    }
    statement.bind::<Array<BigInt>, _>(xids).sql("::bigint[], ");
    statement.bind::<Array<BigInt>, _>(layouts).sql("::bigint[], ");
    statement.bind::<Array<Integer>, _>(operations).sql("::int[], ");
    statement.bind::<Array<Nullable<Binary>>, _>(before).sql("::bytea[], ");
    statement.bind::<Array<Nullable<Binary>>, _>(after);
}

/// A snapshot, and a place in the server's log after everything that it sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Barrier {
    /// The snapshot.
    pub snapshot: PgSnapshot,
    /// The place.
    pub after: u64,
}

impl Barrier {
    /// Reads the answer to [`barrier`].
    ///
    /// # Errors
    /// Where it is not one.
    pub fn read(columns: &dyn Columns<Pg>) -> Result<Self> {
        Ok(Self { snapshot: text(columns, 0)?.parse()?, after: number(columns, 1)?.unsigned_abs() })
    }
}

/// Takes a snapshot and commits a message, which is sent after everything that the snapshot sees. In a transaction of its
/// own: the message is also what makes the server write out its log, without which it would send nothing.
pub fn barrier() -> Statement<Pg> {
    Statement::new(
        "SELECT pg_current_snapshot()::text, \
         (pg_logical_emit_message(TRUE, 'realtime', '') - '0/0'::pg_lsn)::bigint",
    )
}

/// Where a reader of the log that is copied stands: as [`stand`](super::stand), of what its snapshot sees only; and where the
/// server's log ended after the snapshot was taken.
pub fn replicated_stand() -> Statement<Pg> {
    Statement::new(
        "WITH newest AS MATERIALIZED (SELECT position, snapshot FROM realtime_mark ORDER BY position DESC LIMIT 1), \
         beyond AS MATERIALIZED (SELECT \
         (SELECT count(*) FROM realtime_log WHERE xid >= (SELECT pg_snapshot_xmax(snapshot) FROM newest) \
         AND pg_visible_in_snapshot(xid, pg_current_snapshot())) + \
         (SELECT count(*) FROM realtime_log WHERE xid = ANY (ARRAY(SELECT pg_snapshot_xip(snapshot) FROM newest)) \
         AND pg_visible_in_snapshot(xid, pg_current_snapshot())) AS rows) \
         SELECT newest.position, beyond.rows, pg_current_snapshot()::text, \
         (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint FROM newest, beyond",
    )
}

/// Reads how far the server's log went at a [`replicated_stand`].
///
/// # Errors
/// Where it is not the answer to one.
pub fn stand_place(columns: &dyn Columns<Pg>) -> Result<u64> {
    number(columns, 3).map(i64::unsigned_abs)
}

/// What came of [`mark_snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// Where what the snapshot sees is true; nothing where others have made marks meanwhile, of which the newest sees more.
    pub position: Option<Position>,
    /// Rows that have been copied and that the snapshot does not see.
    pub unseen: i64,
}

impl Marked {
    /// Reads the answer to [`mark_snapshot`].
    ///
    /// # Errors
    /// Where it is not one.
    pub fn read(columns: &dyn Columns<Pg>) -> Result<Self> {
        let position = cell::<Option<i64>, Nullable<BigInt>>(columns, 0)?.map(Position);
        Ok(Self { position, unseen: number(columns, 1)? })
    }
}

/// Makes a mark of a snapshot of which everything has been copied, if it sees more than the newest one.
///
/// Of two snapshots one sees all that the other sees, so that rows which only the newest mark sees say that it is the later
/// one.
pub fn mark_snapshot(snapshot: &PgSnapshot) -> Statement<Pg> {
    let mut statement = Statement::new("WITH given AS MATERIALIZED (SELECT ");
    statement.bind::<Text, _>(snapshot.text().to_owned());
    statement.sql(
        "::pg_snapshot AS snapshot), \
         newest AS MATERIALIZED (SELECT position, snapshot FROM realtime_mark ORDER BY position DESC LIMIT 1), \
         later AS MATERIALIZED (\
         SELECT xid FROM realtime_log WHERE xid >= (SELECT pg_snapshot_xmax(snapshot) FROM newest) UNION ALL \
         SELECT xid FROM realtime_log WHERE xid = ANY (ARRAY(SELECT pg_snapshot_xip(snapshot) FROM newest))), \
         earlier AS MATERIALIZED (\
         SELECT xid FROM realtime_log WHERE xid >= (SELECT pg_snapshot_xmax(snapshot) FROM given) UNION ALL \
         SELECT xid FROM realtime_log WHERE xid = ANY (ARRAY(SELECT pg_snapshot_xip(snapshot) FROM given))), \
         beyond AS MATERIALIZED (SELECT \
         count(*) FILTER (WHERE pg_visible_in_snapshot(later.xid, given.snapshot)) AS rows, \
         count(*) FILTER (WHERE NOT pg_visible_in_snapshot(later.xid, given.snapshot)) AS unseen FROM later, given), \
         overtaken AS MATERIALIZED (SELECT EXISTS (SELECT FROM earlier, newest \
         WHERE pg_visible_in_snapshot(earlier.xid, newest.snapshot)) AS is), \
         made AS (INSERT INTO realtime_mark (position, previous, snapshot) \
         SELECT newest.position + beyond.rows, newest.position, given.snapshot FROM newest, beyond, given, overtaken \
         WHERE beyond.rows > 0 AND NOT overtaken.is ON CONFLICT DO NOTHING RETURNING position) \
         SELECT CASE WHEN beyond.rows = 0 AND NOT overtaken.is THEN newest.position ELSE made.position END, beyond.unseen \
         FROM newest CROSS JOIN beyond CROSS JOIN overtaken LEFT JOIN made ON TRUE",
    );
    statement
}

/// Tells the service that copies that nobody is to be told of what the open transaction does from here on.
pub fn begin_silence() -> Statement<Pg> {
    tell(SILENCE)
}

/// Ends it: what follows is told again.
pub fn end_silence() -> Vec<Statement<Pg>> {
    let mut forget = Statement::new("DELETE FROM ");
    forget.sql(TOLD);
    vec![tell(WORD), forget]
}

fn tell(operation: i32) -> Statement<Pg> {
    let mut statement = Statement::new("INSERT INTO ");
    statement.sql(TOLD).sql(" (layout, operation) VALUES (0, ").bind::<Integer, _>(operation).sql(")");
    statement
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transactions_number_is_the_one_nearest() {
        let turn = 1_u64 << 32;
        assert_eq!(whole_xid(1_000, 1_005), 1_000);
        assert_eq!(whole_xid(1_010, 1_005), 1_010);
        assert_eq!(whole_xid(u32::MAX - 4, turn + 3), turn - 5);
        assert_eq!(whole_xid(7, 3 * turn - 9), 3 * turn + 7);
        assert_eq!(whole_xid(7, 3 * turn + 9), 3 * turn + 7);
    }
}
