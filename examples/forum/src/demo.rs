//! The tables and, in an empty database, something to look at.

use std::error::Error;

use chrono::{DateTime, Duration, Utc};
use diesel::connection::SimpleConnection as _;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::result::{Error as DieselError, QueryResult};
use diesel::sql_types::Bool;
use diesel_async::AsyncPgConnection;
use realtime_actix::types::UtcTimestamp;

use crate::passwords;
use crate::schema::{comments, topics, users};

/// What the demo data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demo {
    /// None.
    Nothing,
    /// Users, if there are none yet, and topics with comments, if there are none yet.
    IfEmpty,
}

/// Creates the tables and columns that are missing and fills an empty database.
pub(crate) fn prepare(
    connection: &mut SqliteConnection,
    demo: Demo,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    connection.batch_execute(include_str!("schema.sql"))?;
    connection.immediate_transaction(|connection| {
        let now = Utc::now();
        let had_passwords = has_passwords(connection)?;
        if !had_passwords {
            connection.batch_execute("ALTER TABLE users ADD COLUMN password_hash TEXT")?;
        }
        if demo == Demo::Nothing {
            return Ok(());
        }
        if users::table.count().get_result::<i64>(connection)? == 0 {
            for user in people(now)? {
                diesel::insert_into(users::table).values(user).execute(connection)?;
            }
        } else if !had_passwords {
            // The demo users of a database that was made before anybody could log in.
            for (username, _) in USERS {
                let password_hash = passwords::hash(&password(username))?;
                diesel::update(users::table.filter(users::username.eq(username)))
                    .set(users::password_hash.eq(password_hash))
                    .execute(connection)?;
            }
        }
        if topics::table.count().get_result::<i64>(connection)? == 0 {
            for (topic, said) in discussions(now) {
                let topic = diesel::insert_into(topics::table)
                    .values(topic)
                    .returning(topics::id)
                    .get_result(connection)?;
                for comment in said {
                    let comment = NewComment { topic_id: topic, ..comment };
                    diesel::insert_into(comments::table).values(comment).execute(connection)?;
                }
            }
        }
        Ok(())
    })
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
        if demo == Demo::Nothing {
            return Ok(());
        }
        if Run::get_result::<i64>(users::table.count(), connection).await? == 0 {
            Run::execute(diesel::insert_into(users::table).values(people), connection).await?;
            let next = "SELECT setval(pg_get_serial_sequence('users', 'id'), max(id)) FROM users";
            connection.batch_execute(next).await?;
        }
        if Run::get_result::<i64>(topics::table.count(), connection).await? == 0 {
            for (topic, said) in discussions(now) {
                let topic = diesel::insert_into(topics::table).values(topic).returning(topics::id);
                let topic = Run::get_result(topic, connection).await?;
                let said: Vec<_> =
                    said.into_iter().map(|comment| NewComment { topic_id: topic, ..comment }).collect();
                Run::execute(diesel::insert_into(comments::table).values(said), connection).await?;
            }
        }
        Ok::<(), DieselError>(())
    });
    Ok(filling.await?)
}

/// Could users log in when the database was made?
fn has_passwords(connection: &mut SqliteConnection) -> QueryResult<bool> {
    sql::<Bool>("SELECT count(*) > 0 FROM pragma_table_info('users') WHERE name = 'password_hash'")
        .get_result(connection)
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
    id: i32,
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
    for (id, (username, is_staff)) in (1..).zip(USERS) {
        let password_hash = passwords::hash(&password(username))?;
        people.push(NewUser { id, username, password_hash, is_staff, joined_at: UtcTimestamp(now) });
    }
    Ok(people)
}

/// Author, text, score.
type Said = (i32, &'static str, i32);

/// Topics with their comments.
const DISCUSSIONS: &[(&str, &[Said])] = &[
    (
        "Welcome to the live forum",
        &[
            (1, "Open this page in two windows side by side. What you write in one appears in the other.", 7),
            (2, "It also works the other way round: change a row with the sqlite3 shell and watch.", 5),
            (3, "Everything here comes from four structs with one derive each.", 12),
        ],
    ),
    (
        "What are you building with Rust?",
        &[
            (2, "A kitchen display that shows orders as they come in. No polling, finally.", 4),
            (1, "A dashboard for a wind farm: 200 turbines, one row each.", 9),
        ],
    ),
    ("Diesel tips", &[(3, "`cargo run -p quickstart` is the shortest example in this repository.", 3)]),
];

/// Each topic with its comments, which do not know its key yet.
fn discussions(now: DateTime<Utc>) -> Vec<(NewTopic, Vec<NewComment>)> {
    let mut age = Duration::minutes(90);
    let mut all = Vec::new();
    for (title, said) in DISCUSSIONS {
        let topic = NewTopic { title, locked: false, owner_id: 1, created_at: UtcTimestamp(now - age) };
        let mut comments = Vec::new();
        for (author, body, score) in *said {
            age -= Duration::minutes(7);
            comments.push(NewComment {
                topic_id: 0,
                author_id: *author,
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
