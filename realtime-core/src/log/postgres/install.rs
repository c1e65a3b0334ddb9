//! The statements that bring the log of a database up to date.

use std::borrow::Cow;
use std::collections::BTreeMap;

use diesel::pg::Pg;
use diesel::sql_types::Text;
use serde::Deserialize;

use super::pgoutput::TOLD;
use super::replication::{Replicated, publication};
use super::views;
use crate::log::watch::{InstallError, Watch, layout_id, literal, quoted};
use crate::sql::Statement;

/// The oldest version that has numbers of transactions that do not wrap around, `xid8`.
const OLDEST: i32 = 130_000;

/// What is there already, as [`inspect`] finds it.
#[derive(Debug, Deserialize)]
pub struct Installed {
    version: i32,
    in_recovery: bool,
    /// Where the log is: the first schema of the search path that exists.
    schema: Option<String>,
    relations: Vec<String>,
    tables: BTreeMap<String, Option<Found>>,
    functions: BTreeMap<String, String>,
    /// Our triggers on whatever table.
    triggers: Vec<Trigger>,
}

impl Installed {
    /// Is there a table of layouts to be read?
    pub fn has_layouts(&self) -> bool {
        self.relations.iter().any(|relation| relation == "realtime_layout")
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Found {
    pub(super) schema: String,
    /// `r`: a table; `p`: a partitioned one; `v`: a view.
    kind: String,
    /// Names, and whether their type has a binary form.
    columns: BTreeMap<String, bool>,
    /// Of a view: the tables that it reads, also through other views, by schema and name.
    pub(super) reads: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Trigger {
    schema: String,
    table: String,
    name: String,
    function: String,
    /// `A`: fires also where rows arrive by replication.
    enabled: String,
}

impl Installed {
    /// A table that is there, with the columns that are named.
    fn table<'a>(
        &self,
        name: &str,
        columns: impl IntoIterator<Item = &'a &'a str>,
    ) -> Result<&Found, InstallError> {
        self.found(name, columns, &["r", "p"], InstallError::NotATable)
    }

    /// The same of a view.
    fn view<'a>(
        &self,
        name: &str,
        columns: impl IntoIterator<Item = &'a &'a str>,
    ) -> Result<&Found, InstallError> {
        self.found(name, columns, &["v"], InstallError::NotAView)
    }

    fn found<'a>(
        &self,
        name: &str,
        columns: impl IntoIterator<Item = &'a &'a str>,
        kinds: &[&str],
        otherwise: fn(String) -> InstallError,
    ) -> Result<&Found, InstallError> {
        let found = self.tables.get(name).and_then(Option::as_ref);
        let found = found.ok_or_else(|| InstallError::NoTable(name.to_owned()))?;
        if !kinds.contains(&found.kind.as_str()) {
            return Err(otherwise(name.to_owned()));
        }
        for column in columns {
            let (table, column) = (name.to_owned(), (*column).to_owned());
            match found.columns.get(&column) {
                None => return Err(InstallError::NoColumn { table, column }),
                Some(false) => return Err(InstallError::NotBinary { table, column }),
                Some(true) => {}
            }
        }
        Ok(found)
    }
}

/// Asks what is there: one row with one text, JSON of [`Installed`].
pub fn inspect(watch: &Watch) -> Statement<Pg> {
    let mut statement = Statement::new(
        "WITH mine AS (SELECT current_schema() AS name), \
         named AS (SELECT value AS name, to_regclass(quote_ident(value)) AS oid FROM json_array_elements_text(",
    );
    let tables: Vec<&str> = watch.relations().into_iter().collect();
    statement.bind::<Text, _>(serde_json::Value::from(tables).to_string());
    // What views read, through other views too: each view with each relation that its rule names.
    statement.sql(
        "::json)), \
         rules AS (SELECT DISTINCT r.ev_class AS view, d.refobjid AS relation FROM pg_rewrite r \
            JOIN pg_class v ON v.oid = r.ev_class AND v.relkind = 'v' \
            JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid \
            AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class), \
         reads AS (WITH RECURSIVE through AS (\
            SELECT rules.view, rules.relation FROM rules JOIN named ON named.oid = rules.view UNION \
            SELECT through.view, rules.relation FROM through JOIN rules ON rules.view = through.relation) \
            SELECT through.view, n.nspname, t.relname FROM through JOIN pg_class t ON t.oid = through.relation \
            JOIN pg_namespace n ON n.oid = t.relnamespace WHERE t.relkind NOT IN ('v', 'S', 'c')) \
         SELECT json_build_object(\
         'version', current_setting('server_version_num')::int, \
         'in_recovery', pg_is_in_recovery(), \
         'schema', mine.name, \
         'relations', (SELECT coalesce(json_agg(c.relname), '[]') FROM pg_class c \
            JOIN pg_namespace n ON n.oid = c.relnamespace \
            WHERE n.nspname = mine.name AND c.relkind = 'r' AND c.relname LIKE 'realtime\\_%'), \
         'tables', (SELECT coalesce(json_object_agg(named.name, CASE WHEN c.oid IS NOT NULL THEN json_build_object(\
            'schema', n.nspname, 'kind', c.relkind, \
            'reads', (SELECT coalesce(json_agg(json_build_array(r.nspname, r.relname)), '[]') FROM reads r \
                WHERE r.view = c.oid), \
            'columns', (SELECT coalesce(json_object_agg(a.attname, t.typsend <> 0), '{}') FROM pg_attribute a \
                JOIN pg_type t ON t.oid = a.atttypid \
                WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)) END), '{}') \
            FROM named LEFT JOIN pg_class c ON c.oid = named.oid LEFT JOIN pg_namespace n ON n.oid = c.relnamespace), \
         'functions', (SELECT coalesce(json_object_agg(f.proname, f.prosrc), '{}') FROM pg_proc f \
            JOIN pg_namespace n ON n.oid = f.pronamespace \
            WHERE n.nspname = mine.name AND f.proname LIKE 'realtime\\_log\\_%'), \
         'triggers', (SELECT coalesce(json_agg(json_build_object('schema', tn.nspname, 'table', c.relname, \
            'name', t.tgname, 'function', f.proname, 'enabled', t.tgenabled)), '[]') FROM pg_trigger t \
            JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace tn ON tn.oid = c.relnamespace \
            JOIN pg_proc f ON f.oid = t.tgfoid JOIN pg_namespace n ON n.oid = f.pronamespace \
            WHERE n.nspname = mine.name AND f.proname LIKE 'realtime\\_log\\_%' AND t.tgparentid = 0)\
         )::text FROM mine",
    );
    statement
}

/// The statements that bring the log up to date; none where it is. `layouts` are the numbers in `realtime_layout`.
///
/// An application that prefers migrations puts them into one; otherwise they are run at start-up. With `replicated` the log
/// is filled by logical replication, and only `TRUNCATE` has a trigger.
///
/// # Errors
/// Where the database or a table that a resource names is not fit for it.
pub fn outstanding(
    watch: &Watch,
    installed: &Installed,
    layouts: &[i64],
    replicated: Option<&Replicated>,
) -> Result<Vec<String>, InstallError> {
    if installed.version < OLDEST {
        return Err(InstallError::OldServer(installed.version / 10_000));
    }
    if installed.in_recovery {
        return Err(InstallError::Standby);
    }
    let schema = installed.schema.as_deref().ok_or(InstallError::NoSchema)?;
    let mut statements = Vec::new();
    let has = |name: &str| installed.relations.iter().any(|relation| relation == name);
    let old_epochs = has("realtime_epoch") && !has("realtime_run");
    if old_epochs {
        // It had one row, of a log that goes on in whatever the server is set back to. The log begins anew.
        statements.push(format!("DROP TABLE {}.realtime_epoch", quoted(schema)));
    }
    let mut create = |name: &str, columns: &str| {
        if !has(name) || (old_epochs && name == "realtime_epoch") {
            statements.push(format!("CREATE TABLE {}.{name} ({columns})", quoted(schema)));
        }
    };
    create(
        "realtime_log",
        "seq bigserial, xid xid8 NOT NULL DEFAULT pg_current_xact_id(), layout bigint NOT NULL, \
         operation int NOT NULL, before bytea, after bytea, PRIMARY KEY (xid, seq)",
    );
    create(
        "realtime_mark",
        "position bigint PRIMARY KEY, previous bigint NOT NULL UNIQUE, snapshot pg_snapshot NOT NULL, \
         at timestamptz NOT NULL DEFAULT now()",
    );
    create("realtime_layout", "id bigint PRIMARY KEY, table_name text NOT NULL, columns text NOT NULL");
    create(
        "realtime_run",
        "id bigint PRIMARY KEY, cluster text NOT NULL, name text NOT NULL, since bigint NOT NULL",
    );
    create(
        "realtime_epoch",
        "epoch bigint PRIMARY KEY, run bigint NOT NULL, at timestamptz NOT NULL DEFAULT now()",
    );
    create(
        "realtime_key",
        "id int PRIMARY KEY CHECK (id = 1), key bytea NOT NULL CHECK (octet_length(key) = 32)",
    );
    create(
        crate::idempotency::TABLE,
        "seq bigserial PRIMARY KEY, name text NOT NULL UNIQUE, request text NOT NULL, answer text NOT NULL, \
         at bigint NOT NULL",
    );
    if replicated.is_some() {
        create("realtime_slot", "slot text NOT NULL, watch bigint NOT NULL, copied pg_lsn NOT NULL");
        create(
            TOLD,
            "id bigserial PRIMARY KEY, layout bigint NOT NULL, operation int NOT NULL, before bytea, after bytea",
        );
    } else if has("realtime_slot") {
        // What happened since the copying ended is in no log.
        let schema = quoted(schema);
        statements.push(format!("DELETE FROM {schema}.realtime_run"));
        statements.push(format!(
            "SELECT pg_drop_replication_slot(s.slot_name) FROM pg_replication_slots s \
             JOIN {schema}.realtime_slot r ON r.slot = s.slot_name"
        ));
        statements.push(format!(
            "DROP PUBLICATION IF EXISTS {}",
            publication(installed.schema.as_deref().unwrap_or_default())
        ));
        statements.push(format!("DROP TABLE IF EXISTS {schema}.realtime_slot, {schema}.{TOLD}"));
    }
    let mut wanted_functions = BTreeMap::new();
    let mut wanted_triggers = Vec::new();
    for (layout, name, columns) in watch.layouts() {
        if !layouts.contains(&layout) {
            statements.push(format!(
                "INSERT INTO {}.realtime_layout (id, table_name, columns) VALUES ({layout}, {}, {})",
                quoted(schema),
                literal(name),
                literal(&serde_json::Value::from(columns).to_string())
            ));
        }
    }
    let mut want = |found: &Found, table: &str, function: String, source: String, kinds: Vec<Kind>| {
        if installed.functions.get(&function) != Some(&source) {
            statements.push(create_function(schema, &function, &source));
        }
        wanted_triggers.extend(kinds.into_iter().map(|kind| {
            let trigger = Trigger {
                schema: found.schema.clone(),
                table: table.to_owned(),
                name: kind.name.to_string(),
                function: function.clone(),
                enabled: "A".to_owned(),
            };
            (kind, trigger)
        }));
        wanted_functions.insert(function, source);
    };
    for (table, columns) in &watch.tables {
        let found = installed.table(table, columns)?;
        let layout = layout_id(table, columns);
        let relation = format!("{}.{}", quoted(&found.schema), quoted(table));
        let source = match replicated {
            None => source(schema, &relation, columns, layout),
            Some(_) => truncated_source(schema, &relation, columns, layout),
        };
        let kinds = KINDS.iter().filter(|kind| replicated.is_none() || kind.event == "BEFORE TRUNCATE");
        want(found, table, format!("realtime_log_{layout}"), source, kinds.cloned().collect());
    }
    for (view, viewed) in &watch.views {
        viewed.check(view)?;
        let found = installed.view(view, &viewed.columns)?;
        let mut bases = BTreeMap::new();
        for (table, links) in viewed.bases() {
            let base = installed.table(table, links.iter().map(|(_, link)| &link.column))?;
            bases.insert((base.schema.as_str(), table), (base, links));
        }
        if let Some((_, table)) =
            found.reads.iter().find(|(schema, table)| !bases.contains_key(&(schema.as_str(), table.as_str())))
        {
            return Err(InstallError::UnnamedBase { view: (*view).to_owned(), table: table.clone() });
        }
        let relation = format!("{}.{}", quoted(&found.schema), quoted(view));
        for ((_, table), (base, links)) in bases {
            let layout = viewed.layout(view);
            let source = views::source(schema, &relation, viewed, layout, &links, replicated.is_some());
            let function = format!("realtime_log_{:x}_{:x}", layout, layout_id(table, &[]));
            want(base, table, function, source, views::kinds(layout));
        }
    }
    let at = |trigger: &Trigger| format!("{}.{}", quoted(&trigger.schema), quoted(&trigger.table));
    // A trigger of a table that is no longer watched would only cost its writers.
    for trigger in &installed.triggers {
        if !wanted_triggers.iter().any(|(_, wanted)| wanted == trigger) {
            statements.push(format!("DROP TRIGGER {} ON {}", quoted(&trigger.name), at(trigger)));
        }
    }
    for (kind, trigger) in &wanted_triggers {
        if !installed.triggers.contains(trigger) {
            statements.push(format!(
                "CREATE TRIGGER {} {} ON {} {} EXECUTE FUNCTION {}.{}()",
                quoted(&kind.name),
                kind.event,
                at(trigger),
                kind.rows,
                quoted(schema),
                trigger.function
            ));
            statements.push(format!(
                "ALTER TABLE {} ENABLE ALWAYS TRIGGER {}",
                at(trigger),
                quoted(&kind.name)
            ));
        }
    }
    for function in installed.functions.keys().filter(|name| !wanted_functions.contains_key(*name)) {
        statements.push(format!("DROP FUNCTION {}.{}()", quoted(schema), quoted(function)));
    }
    if let Some(replicated) = replicated {
        statements.extend(replicated.outstanding(watch)?);
    }
    Ok(statements)
}

#[derive(Clone)]
pub(super) struct Kind {
    pub(super) name: Cow<'static, str>,
    pub(super) event: &'static str,
    pub(super) rows: &'static str,
}

/// PostgreSQL fires triggers of one sort in the order of their names. Ours come before the application's and before
/// those of foreign keys: one that changes the same row once more is logged after what it was called for.
///
/// `*<>` compares the stored bytes, so that 1.0 and 1.00 differ, and texts that a collation takes for equal.
const KINDS: &[Kind] = &[
    Kind { name: Cow::Borrowed("!realtime_insert"), event: "AFTER INSERT", rows: "FOR EACH ROW" },
    Kind {
        name: Cow::Borrowed("!realtime_update"),
        event: "AFTER UPDATE",
        rows: "FOR EACH ROW WHEN (OLD.* OPERATOR(pg_catalog.*<>) NEW.*)",
    },
    Kind { name: Cow::Borrowed("!realtime_delete"), event: "AFTER DELETE", rows: "FOR EACH ROW" },
    Kind { name: Cow::Borrowed("!realtime_truncate"), event: "BEFORE TRUNCATE", rows: "FOR EACH STATEMENT" },
];

/// It runs as whoever installed it, so that writers need no rights on the log; everything it names is fixed. `record_send`
/// writes text in the encoding of the client, which is the writer's own business: here it is always UTF-8.
fn create_function(schema: &str, name: &str, source: &str) -> String {
    let name = format!("{}.{name}()", quoted(schema));
    // In one statement: nobody but its owner may make it the trigger of a table of his own.
    format!(
        "CREATE OR REPLACE FUNCTION {name} RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER \
         SET search_path = pg_catalog, pg_temp SET client_encoding = 'UTF8' AS $realtime${source}$realtime$; \
         REVOKE ALL ON FUNCTION {name} FROM PUBLIC"
    )
}

pub(super) fn image(of: &str, columns: &[&str]) -> String {
    let values: Vec<String> = columns.iter().map(|column| format!("{of}.{}", quoted(column))).collect();
    format!("record_send(ROW({}))", values.join(", "))
}

/// Logical replication says that a table was truncated, not of which rows. They are told through a table that is
/// published like the watched ones, and stay in it no longer than the statement lasts.
fn truncated_source(schema: &str, relation: &str, columns: &[&str], layout: i64) -> String {
    let told = format!("{}.{TOLD}", quoted(schema));
    format!(
        "
BEGIN
    IF current_setting('transaction_isolation') = 'read committed' THEN
        INSERT INTO {told} (layout, operation, before) SELECT {layout}, 3, {truncated} FROM {relation} AS gone;
    ELSE
        INSERT INTO {told} (layout, operation) VALUES ({layout}, 4);
    END IF;
    DELETE FROM {told};
    RETURN NULL;
END
",
        truncated = image("gone", columns),
    )
}

fn source(schema: &str, relation: &str, columns: &[&str], layout: i64) -> String {
    let image = |of: &str| image(of, columns);
    let log = format!("{}.realtime_log", quoted(schema));
    // A transaction that keeps the snapshot it began with may not see all the rows that it truncates.
    format!(
        "
DECLARE
    image_before bytea;
    image_after bytea;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        IF current_setting('transaction_isolation') = 'read committed' THEN
            INSERT INTO {log} (layout, operation, before) SELECT {layout}, 3, {truncated} FROM {relation} AS gone;
        ELSE
            INSERT INTO {log} (layout, operation) VALUES ({layout}, 4);
        END IF;
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        image_before := {old};
    END IF;
    IF TG_OP <> 'DELETE' THEN
        image_after := {new};
    END IF;
    IF image_before IS DISTINCT FROM image_after THEN
        INSERT INTO {log} (layout, operation, before, after)
        VALUES ({layout}, CASE TG_OP WHEN 'INSERT' THEN 1 WHEN 'UPDATE' THEN 2 ELSE 3 END, image_before, image_after);
    END IF;
    RETURN NULL;
END
",
        truncated = image("gone"),
        old = image("OLD"),
        new = image("NEW"),
    )
}
