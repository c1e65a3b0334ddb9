//! The tables and, in an empty database, something to look at.

use std::error::Error;

use chrono::{DateTime, Duration, Utc};
use diesel::connection::SimpleConnection as _;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::result::QueryResult;
use diesel::sql_types::Bool;
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
            insert_users(connection, now)?;
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
            insert_discussions(connection, now)?;
        }
        Ok(())
    })
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

fn insert_users(
    connection: &mut SqliteConnection,
    now: DateTime<Utc>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    for (id, (username, is_staff)) in (1..).zip(USERS) {
        diesel::insert_into(users::table)
            .values((
                users::id.eq(id),
                users::username.eq(username),
                users::password_hash.eq(passwords::hash(&password(username))?),
                users::is_staff.eq(is_staff),
                users::joined_at.eq(UtcTimestamp(now)),
            ))
            .execute(connection)?;
    }
    Ok(())
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

fn insert_discussions(connection: &mut SqliteConnection, now: DateTime<Utc>) -> QueryResult<()> {
    let mut age = Duration::minutes(90);
    for (title, said) in DISCUSSIONS {
        let topic: i32 = diesel::insert_into(topics::table)
            .values((
                topics::title.eq(title),
                topics::locked.eq(false),
                topics::owner_id.eq(1),
                topics::created_at.eq(UtcTimestamp(now - age)),
            ))
            .returning(topics::id)
            .get_result(connection)?;
        for (author, body, score) in *said {
            age -= Duration::minutes(7);
            diesel::insert_into(comments::table)
                .values((
                    comments::topic_id.eq(topic),
                    comments::author_id.eq(author),
                    comments::body.eq(body),
                    comments::score.eq(score),
                    comments::status.eq("published"),
                    comments::created_at.eq(UtcTimestamp(now - age)),
                ))
                .execute(connection)?;
        }
    }
    Ok(())
}
