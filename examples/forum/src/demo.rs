//! The tables and, in an empty database, something to look at.

use chrono::{DateTime, Duration, Utc};
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::result::QueryResult;
use realtime_actix::types::UtcTimestamp;

use crate::schema::{comments, topics, users};

/// The user that every caller acts as until callers can log in.
pub(crate) const ANN: i32 = 1;

/// What the demo data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demo {
    /// Only the users that others refer to.
    Nothing,
    /// Topics and comments, if there are none yet.
    IfEmpty,
}

/// Creates the tables that are missing and fills an empty database.
pub(crate) fn prepare(connection: &mut SqliteConnection, demo: Demo) -> QueryResult<()> {
    connection.batch_execute(include_str!("schema.sql"))?;
    connection.immediate_transaction(|connection| {
        let now = Utc::now();
        if users::table.count().get_result::<i64>(connection)? == 0 {
            insert_users(connection, now)?;
        }
        if demo == Demo::IfEmpty && topics::table.count().get_result::<i64>(connection)? == 0 {
            insert_discussions(connection, now)?;
        }
        Ok(())
    })
}

fn insert_users(connection: &mut SqliteConnection, now: DateTime<Utc>) -> QueryResult<()> {
    for (id, name, is_staff) in [(ANN, "ann", false), (2, "bob", false), (3, "staff", true)] {
        diesel::insert_into(users::table)
            .values((
                users::id.eq(id),
                users::username.eq(name),
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
            (3, "Everything here comes from two structs with one derive each.", 12),
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
                topics::owner_id.eq(ANN),
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
