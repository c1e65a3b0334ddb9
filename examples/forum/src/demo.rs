//! The tables and, in an empty database, something to look at.

use std::error::Error;

use chrono::{DateTime, Duration, Utc};
use diesel::connection::SimpleConnection as _;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::result::{Error as DieselError, QueryResult};
use diesel::sql_types::{Bool, Text};
use diesel_async::AsyncPgConnection;
use realtime_actix::types::UtcTimestamp;

use crate::passwords;
use crate::schema::{comments, topics, users};

/// What the demo data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demo {
    /// None.
    Nothing,
    /// Users, topics and comments, if there are neither users nor topics yet.
    IfEmpty,
}

/// Creates the tables and columns that are missing and fills an empty database.
pub(crate) fn prepare(
    connection: &mut SqliteConnection,
    demo: Demo,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    // Neither can be changed in a transaction. A table that is put in another's place must not be taken for a deletion of
    // its rows, nor be followed by what refers to it when it is renamed.
    connection.batch_execute("PRAGMA foreign_keys = OFF; PRAGMA legacy_alter_table = ON")?;
    let filled = connection.immediate_transaction(|connection| {
        let had_passwords = bring_up_to_date(connection)?;
        if demo == Demo::Nothing {
            return Ok(());
        }
        let now = Utc::now();
        let has_users = users::table.count().get_result::<i64>(connection)? > 0;
        if has_users && !had_passwords {
            // The demo users of a database that was made before anybody could log in.
            for (username, _) in USERS {
                let password_hash = passwords::hash(&password(username))?;
                diesel::update(users::table.filter(users::username.eq(username)))
                    .set(users::password_hash.eq(password_hash))
                    .execute(connection)?;
            }
        }
        if has_users || topics::table.count().get_result::<i64>(connection)? > 0 {
            return Ok(());
        }
        let mut keys = Vec::new();
        for user in people(now)? {
            let user = diesel::insert_into(users::table).values(user).returning(users::id);
            keys.push(user.get_result::<i32>(connection)?);
        }
        for (topic, said) in discussions(&keys, now) {
            let topic = diesel::insert_into(topics::table)
                .values(topic)
                .returning(topics::id)
                .get_result(connection)?;
            for comment in said {
                let comment = NewComment { topic_id: topic, ..comment };
                diesel::insert_into(comments::table).values(comment).execute(connection)?;
            }
        }
        Ok(())
    });
    connection.batch_execute("PRAGMA legacy_alter_table = OFF; PRAGMA foreign_keys = ON")?;
    filled
}

/// The same for PostgreSQL. Programs that start together do it one after the other.
pub(crate) async fn prepare_postgres(
    connection: &mut AsyncPgConnection,
    demo: Demo,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    use diesel_async::{AsyncConnection as _, RunQueryDsl as Run, SimpleAsyncConnection as _};
    let now = Utc::now();
    let people = people(now)?;
    let filling = connection.transaction(async |connection| {
        connection.batch_execute("SELECT pg_advisory_xact_lock(hashtext('forum'))").await?;
        connection.batch_execute(include_str!("schema_postgres.sql")).await?;
        if demo == Demo::Nothing
            || Run::get_result::<i64>(users::table.count(), connection).await? > 0
            || Run::get_result::<i64>(topics::table.count(), connection).await? > 0
        {
            return Ok(());
        }
        let people = diesel::insert_into(users::table).values(people).returning(users::id);
        let keys: Vec<i32> = Run::get_results(people, connection).await?;
        for (topic, said) in discussions(&keys, now) {
            let topic = diesel::insert_into(topics::table).values(topic).returning(topics::id);
            let topic = Run::get_result(topic, connection).await?;
            let said: Vec<_> =
                said.into_iter().map(|comment| NewComment { topic_id: topic, ..comment }).collect();
            Run::execute(diesel::insert_into(comments::table).values(said), connection).await?;
        }
        Ok::<(), DieselError>(())
    });
    Ok(filling.await?)
}

/// Creates what is missing, and brings what an older forum has made up to date. Could users log in before?
fn bring_up_to_date(connection: &mut SqliteConnection) -> QueryResult<bool> {
    const SCHEMA: &str = include_str!("schema.sql");
    let mut columns = Vec::new();
    for table in ["users", "topics", "comments"] {
        // Its keys could be given twice.
        let is_old = format!("FROM sqlite_schema WHERE name = '{table}' AND sql NOT LIKE '%AUTOINCREMENT%'");
        if !sql::<Bool>(&format!("SELECT count(*) > 0 {is_old}")).get_result::<bool>(connection)? {
            continue;
        }
        let names = format!("SELECT group_concat(name) FROM pragma_table_info('{table}')");
        columns.push((table, sql::<Text>(&names).get_result::<String>(connection)?));
        connection.batch_execute(&format!("ALTER TABLE {table} RENAME TO old_{table}"))?;
    }
    connection.batch_execute(SCHEMA)?;
    let of_users = columns.iter().find(|(table, _)| *table == "users");
    let had_passwords =
        of_users.is_none_or(|(_, names)| names.split(',').any(|name| name == "password_hash"));
    for (table, names) in &columns {
        connection.batch_execute(&format!(
            "INSERT INTO {table} ({names}) SELECT {names} FROM old_{table}; DROP TABLE old_{table};"
        ))?;
    }
    // The indexes of the old tables had the names of the new ones.
    connection.batch_execute(SCHEMA)?;
    Ok(had_passwords)
}

/// Name, and whether he is one of the staff.
const USERS: [(&str, bool); 3] = [("ann", false), ("bob", false), ("staff", true)];

/// The password of a demo user, which everybody knows.
fn password(username: &str) -> String {
    format!("demo-{username}")
}

#[derive(Insertable)]
#[diesel(table_name = users)]
struct NewUser {
    username: &'static str,
    password_hash: String,
    is_staff: bool,
    joined_at: UtcTimestamp,
}

#[derive(Insertable)]
#[diesel(table_name = topics)]
struct NewTopic {
    title: &'static str,
    locked: bool,
    owner_id: i32,
    created_at: UtcTimestamp,
}

#[derive(Insertable)]
#[diesel(table_name = comments)]
struct NewComment {
    topic_id: i32,
    author_id: i32,
    body: &'static str,
    score: i32,
    status: &'static str,
    created_at: UtcTimestamp,
}

fn people(now: DateTime<Utc>) -> Result<Vec<NewUser>, Box<dyn Error + Send + Sync>> {
    let mut people = Vec::new();
    for (username, is_staff) in USERS {
        let password_hash = passwords::hash(&password(username))?;
        people.push(NewUser { username, password_hash, is_staff, joined_at: UtcTimestamp(now) });
    }
    Ok(people)
}

/// Author by his place among the users, text, score.
type Said = (usize, &'static str, i32);

/// Topics with their comments.
const DISCUSSIONS: &[(&str, &[Said])] = &[
    (
        "Welcome to the live forum",
        &[
            (0, "Open this page in two windows side by side. What you write in one appears in the other.", 7),
            (1, "It also works the other way round: change a row with the sqlite3 shell and watch.", 5),
            (2, "Everything here comes from four structs with one derive each.", 12),
        ],
    ),
    (
        "What are you building with Rust?",
        &[
            (1, "A kitchen display that shows orders as they come in. No polling, finally.", 4),
            (0, "A dashboard for a wind farm: 200 turbines, one row each.", 9),
        ],
    ),
    ("Diesel tips", &[(2, "`cargo run -p quickstart` is the shortest example in this repository.", 3)]),
];

/// Each topic with its comments, which do not know its key yet, of the users with these keys.
fn discussions(users: &[i32], now: DateTime<Utc>) -> Vec<(NewTopic, Vec<NewComment>)> {
    let mut age = Duration::minutes(90);
    let mut all = Vec::new();
    for (title, said) in DISCUSSIONS {
        let topic =
            NewTopic { title, locked: false, owner_id: users[0], created_at: UtcTimestamp(now - age) };
        let mut comments = Vec::new();
        for (author, body, score) in *said {
            age -= Duration::minutes(7);
            comments.push(NewComment {
                topic_id: 0,
                author_id: users[*author],
                body,
                score: *score,
                status: "published",
                created_at: UtcTimestamp(now - age),
            });
        }
        all.push((topic, comments));
    }
    all
}
