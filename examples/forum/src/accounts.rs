//! Users, their passwords and their sessions, in the database. Every statement about them is here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::{ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, SelectableHelper as _};
use diesel::result::QueryResult;
use realtime_actix::types::UtcTimestamp;
use sha2::{Digest as _, Sha256};

use crate::database::{Connection, run};
use crate::models::User;
use crate::schema::{sessions, users};

/// How long somebody stays logged in.
pub(crate) const LIFETIME: TimeDelta = TimeDelta::days(30);

/// Sessions that a user may have at a time. The oldest ends when another one begins.
const MOST: i64 = 100;

/// A session that begins.
pub(crate) struct NewSession {
    /// What whoever logs in gets, and nobody else: it is not stored.
    pub(crate) token: String,
    pub(crate) begins: DateTime<Utc>,
    pub(crate) ends: DateTime<Utc>,
}

impl NewSession {
    /// A session with a token of 32 random bytes.
    pub(crate) fn random(now: DateTime<Utc>) -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self { token: URL_SAFE_NO_PAD.encode(bytes), begins: now, ends: now + LIFETIME })
    }
}

/// The public name of a token's session: who reads it in the database or in a log cannot log in with it.
pub(crate) fn session_name(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token))
}

/// A user and the hash of his password; one without a hash cannot log in.
pub(crate) type Account = (User, Option<String>);

pub(crate) async fn by_name(mut connection: Connection<'_>, username: &str) -> QueryResult<Option<Account>> {
    run!(
        connection,
        first,
        users::table.filter(users::username.eq(username)).select((User::as_select(), users::password_hash))
    )
    .optional()
}

pub(crate) async fn by_key(mut connection: Connection<'_>, user: i32) -> QueryResult<Option<Account>> {
    run!(connection, first, users::table.find(user).select((User::as_select(), users::password_hash)))
        .optional()
}

/// Makes a user. A name that is taken is a unique violation.
pub(crate) async fn create(
    mut connection: Connection<'_>,
    username: &str,
    password_hash: &str,
    now: DateTime<Utc>,
) -> QueryResult<User> {
    run!(
        connection,
        get_result,
        diesel::insert_into(users::table)
            .values((
                users::username.eq(username),
                users::password_hash.eq(password_hash),
                users::is_staff.eq(false),
                users::joined_at.eq(UtcTimestamp(now)),
            ))
            .returning(User::as_returning())
    )
}

/// Begins a session, unless the password has been changed since it was looked at, and says which others end with it:
/// `instead_of`, and the oldest of a user who has too many. What has ended by itself is removed.
pub(crate) async fn begin_session(
    mut connection: Connection<'_>,
    session: &NewSession,
    (user, password_hash): (i32, &str),
    instead_of: Option<&str>,
) -> QueryResult<Option<Vec<String>>> {
    let unchanged = users::table.find(user).filter(users::password_hash.eq(password_hash)).count();
    let unchanged: i64 = run!(connection, get_result, unchanged)?;
    if unchanged == 0 {
        return Ok(None);
    }
    let now = UtcTimestamp(session.begins);
    run!(connection, execute, diesel::delete(sessions::table.filter(sessions::expires_at.le(now))))?;
    let oldest = sessions::table
        .filter(sessions::user_id.eq(user))
        .order(sessions::created_at.desc())
        .select(sessions::name)
        .limit(i64::MAX)
        .offset(MOST - 1);
    let mut ended: Vec<String> = run!(connection, load, oldest)?;
    ended.extend(instead_of.map(str::to_owned));
    run!(connection, execute, diesel::delete(sessions::table.filter(sessions::name.eq_any(&ended))))?;
    let row = diesel::insert_into(sessions::table).values((
        sessions::name.eq(session_name(&session.token)),
        sessions::user_id.eq(user),
        sessions::created_at.eq(now),
        sessions::expires_at.eq(UtcTimestamp(session.ends)),
    ));
    run!(connection, execute, row)?;
    Ok(Some(ended))
}

/// Whose session it is, and until when.
pub(crate) async fn session(
    mut connection: Connection<'_>,
    name: &str,
) -> QueryResult<Option<(User, DateTime<Utc>)>> {
    run!(
        connection,
        first,
        sessions::table
            .inner_join(users::table)
            .filter(sessions::name.eq(name))
            .select((User::as_select(), sessions::expires_at))
    )
    .optional()
}

pub(crate) async fn end_session(mut connection: Connection<'_>, name: &str) -> QueryResult<()> {
    run!(connection, execute, diesel::delete(sessions::table.find(name))).map(drop)
}

/// Changes a password and ends the user's other sessions, unless the password has been changed since it was looked at.
pub(crate) async fn change_password(
    mut connection: Connection<'_>,
    user: i32,
    (old_hash, new_hash): (&str, &str),
    session: &str,
) -> QueryResult<bool> {
    let changed = diesel::update(users::table.find(user).filter(users::password_hash.eq(old_hash)))
        .set(users::password_hash.eq(new_hash));
    if run!(connection, execute, changed)? == 0 {
        return Ok(false);
    }
    let others = sessions::table.filter(sessions::user_id.eq(user)).filter(sessions::name.ne(session));
    run!(connection, execute, diesel::delete(others))?;
    Ok(true)
}
