//! Brings the change log of a database up to date.

use diesel::pg::Pg;
use diesel::result::QueryResult;
use diesel::sql_types::{Bool, Text};
use diesel_async::{AnsiTransactionManager, AsyncConnectionCore as _, AsyncPgConnection};
use diesel_async::{SimpleAsyncConnection as _, TransactionManager as _};
use realtime_core::__private::read;
use realtime_core::PageKey;
use realtime_core::cursor::Epoch;
use realtime_core::log::postgres::Watch;
use realtime_core::log::postgres::{self as log, Installed, Layout, Origin, Replicated, SlotState};
use realtime_core::sql::postgres::functions;
use realtime_core::sql::{Statement, Table};

use super::OpenError;
use super::connection::{first, load};
use super::copier::new_slot;
use crate::realtime::ChangeSource;

/// Held while the log is looked at and changed, so that two processes that start do not both do it. Triggers wait for
/// writers of their table; a start that waits for long is to say so.
const LOCK: &str = "SELECT pg_advisory_xact_lock(8243101811408989541); SET LOCAL lock_timeout = '30s'";

/// The statements that are outstanding; and what logical replication needs, where changes come from it.
pub(super) async fn outstanding(
    connection: &mut AsyncPgConnection,
    tables: &[Table<Pg>],
    source: ChangeSource,
) -> Result<(Vec<String>, Option<Replicated>), OpenError> {
    let watch = Watch::over(tables);
    let found = first(connection, log::inspect(&watch), |columns| {
        let text = read::<String, Text, Pg>(columns, 0)?;
        Ok(serde_json::from_str::<Installed>(&text)?)
    });
    let installed = found.await?.ok_or(diesel::result::Error::NotFound)?;
    let layouts = if installed.has_layouts() {
        load(connection, log::layouts(), Layout::read).await?
    } else {
        Vec::new()
    };
    let layouts: Vec<i64> = layouts.iter().map(|layout| layout.id).collect();
    let replicated = match source {
        ChangeSource::Triggers => None,
        ChangeSource::Replication => {
            let found = first(connection, log::inspect_replication(&watch), |columns| {
                let text = read::<String, Text, Pg>(columns, 0)?;
                Ok(serde_json::from_str::<Replicated>(&text)?)
            });
            Some(found.await?.ok_or(diesel::result::Error::NotFound)?)
        }
    };
    let mut statements = log::outstanding(&watch, &installed, &layouts, replicated.as_ref())?;
    let descriptors: Vec<_> = tables.iter().map(Table::descriptor).collect();
    let asked = first(connection, functions::are_installed(&descriptors), |columns| {
        read::<bool, Bool, Pg>(columns, 0)
    });
    if asked.await? != Some(true) {
        let install = functions::install(&descriptors);
        statements.push(install.trim_end().trim_end_matches(';').to_owned());
    }
    Ok((statements, replicated))
}

/// What a log that is up to date has.
pub(super) struct Started {
    pub(super) epoch: Epoch,
    /// The key of page cursors.
    pub(super) page_key: PageKey,
    /// What logical replication needs, where changes come from it.
    pub(super) replicated: Option<Replicated>,
}

/// Installs what is outstanding, or insists that nothing is.
pub(super) async fn install(
    connection: &mut AsyncPgConnection,
    tables: &[Table<Pg>],
    may_install: bool,
    source: ChangeSource,
) -> Result<Started, OpenError> {
    AnsiTransactionManager::begin_transaction_sql(
        connection,
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
    )
    .await?;
    connection.batch_execute(LOCK).await?;
    let (statements, replicated) = outstanding(connection, tables, source).await?;
    if !may_install && !statements.is_empty() {
        return Err(OpenError::Outstanding(statements.join(";\n") + ";"));
    }
    for statement in statements {
        if let Err(error) = connection.batch_execute(&statement).await {
            return Err(OpenError::Refused { statement, error });
        }
    }
    let is_new = begin(connection).await?;
    let epoch = begin_epoch(connection).await?;
    if replicated.is_some() {
        let watch = Watch::over(tables);
        // Of a log that begins anew it means nothing any more where the copying stood.
        let noted = if is_new { log::forget_slot() } else { log::note_watch(&watch) };
        connection.execute_returning_count(noted).await?;
    }
    let page_key = page_key(connection).await?;
    AnsiTransactionManager::commit_transaction(connection).await?;
    Ok(Started { epoch, page_key, replicated })
}

/// Sees to a slot from which the copying can go on. Where there is none what happened meanwhile is not known, so that the
/// log begins anew. Gives its epoch.
pub(super) async fn slot(
    connection: &mut AsyncPgConnection,
    replicated: &Replicated,
    watch: &Watch,
    epoch: Epoch,
) -> Result<Epoch, OpenError> {
    let name = replicated.slot();
    // The server waits for whoever writes just then.
    connection.batch_execute("SET statement_timeout = '30s'").await?;
    load(connection, log::lock_slot(), |_| Ok(())).await.map_err(OpenError::Slot)?;
    let state = first(connection, log::slot_state(), SlotState::read).await?;
    match state {
        Some(state) if state.slot == name && state.is_usable => return Ok(epoch),
        Some(_) => tracing::warn!(
            slot = name,
            "the replication slot is gone or has fallen too far behind; the change log begins anew"
        ),
        None => {}
    }
    let begun = new_slot(connection, &name).await.map_err(OpenError::Slot)?;
    AnsiTransactionManager::begin_transaction_sql(
        connection,
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
    )
    .await?;
    execute(connection, log::begin_anew()).await?;
    let epoch = begin_epoch(connection).await?;
    connection.execute_returning_count(log::begin_copying(&name, watch, begun)).await?;
    AnsiTransactionManager::commit_transaction(connection).await?;
    Ok(epoch)
}

/// Begins a log that is new, or comes from another cluster, whose marks mean nothing here. Has it just begun?
async fn begin(connection: &mut AsyncPgConnection) -> QueryResult<bool> {
    let origin =
        first(connection, log::origin(), Origin::read).await?.ok_or(diesel::result::Error::NotFound)?;
    match origin {
        Origin::Own => return Ok(false),
        Origin::Foreign => tracing::warn!("the change log was written by another cluster; it begins anew"),
        Origin::New => {}
    }
    execute(connection, log::begin_anew()).await?;
    Ok(true)
}

/// Begins an epoch of this service's own.
async fn begin_epoch(connection: &mut AsyncPgConnection) -> QueryResult<Epoch> {
    connection.execute_returning_count(log::enter_run()).await?;
    // Positive, so that it is the same number as unsigned.
    let epoch = i64::from_ne_bytes(random()?) & i64::MAX;
    execute(connection, log::begin_epoch(epoch)).await?;
    Ok(Epoch(epoch.unsigned_abs()))
}

async fn execute(connection: &mut AsyncPgConnection, statements: Vec<Statement<Pg>>) -> QueryResult<()> {
    for statement in statements {
        connection.execute_returning_count(statement).await?;
    }
    Ok(())
}

/// The key of the database's page cursors; made where there is none.
async fn page_key(connection: &mut AsyncPgConnection) -> QueryResult<PageKey> {
    if let Some(key) = first(connection, log::page_key(), log::read_page_key).await? {
        return Ok(key);
    }
    connection.execute_returning_count(log::make_page_key(&random()?)).await?;
    first(connection, log::page_key(), log::read_page_key).await?.ok_or(diesel::result::Error::NotFound)
}

fn random<const BYTES: usize>() -> QueryResult<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|error| diesel::result::Error::QueryBuilderError(error.to_string().into()))?;
    Ok(bytes)
}
