//! The resources of the tests: the forum's topics and comments, a part of the comments that is read only, and a
//! resource whose key is a text that clients give.

use chrono::{DateTime, Utc};
use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Text;
use realtime_actix::policy::{
    AllowAny, Ask, IsAuthenticated, IsOwner, Permission as _, Policy, ReadOnly, Rule as _, Verdict,
};
use realtime_actix::{
    Action, Connect, Context, Draft, Error, Hooks, Principal, Realtime, RealtimeEnum, RealtimeResource, Rows,
};
use serde::{Deserialize, Serialize};

use crate::Account;

/// The user that every caller acts as, and one of the staff, unless a test says otherwise.
pub const ANN: i32 = 1;

/// Another user.
pub const BOB: i32 = 2;

/// The tables, two users and two topics.
pub const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS users (
    id INTEGER PRIMARY KEY NOT NULL,
    username TEXT NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS topics (
    id INTEGER PRIMARY KEY NOT NULL,
    title TEXT NOT NULL,
    locked BOOLEAN NOT NULL DEFAULT FALSE,
    owner_id INTEGER NOT NULL REFERENCES users (id),
    created_at TIMESTAMP NOT NULL
);
CREATE TABLE IF NOT EXISTS comments (
    id INTEGER PRIMARY KEY NOT NULL,
    topic_id INTEGER NOT NULL REFERENCES topics (id) ON DELETE CASCADE,
    author_id INTEGER NOT NULL REFERENCES users (id),
    body TEXT NOT NULL,
    score INTEGER NOT NULL DEFAULT 0,
    rating DOUBLE,
    status TEXT NOT NULL DEFAULT 'published',
    edited_at TIMESTAMP,
    created_at TIMESTAMP NOT NULL
);
CREATE TABLE IF NOT EXISTS labels (
    name TEXT PRIMARY KEY NOT NULL,
    code TEXT UNIQUE,
    weight INTEGER NOT NULL DEFAULT 1 CHECK (weight >= 0)
);
CREATE TABLE IF NOT EXISTS label_uses (
    label TEXT NOT NULL REFERENCES labels (name)
);
INSERT OR IGNORE INTO users VALUES (1, 'ann'), (2, 'bob');
INSERT OR IGNORE INTO topics VALUES
    (1, 'First', FALSE, 1, '2026-01-01 00:00:00'),
    (2, 'Second', FALSE, 2, '2026-01-02 00:00:00');
";

diesel::table! {
    topics (id) {
        id -> Integer,
        title -> Text,
        locked -> Bool,
        owner_id -> Integer,
        created_at -> realtime_actix::types::sql::UtcTimestamp,
    }
}

diesel::table! {
    comments (id) {
        id -> BigInt,
        topic_id -> Integer,
        author_id -> Integer,
        body -> Text,
        score -> Integer,
        rating -> Nullable<Double>,
        status -> Text,
        edited_at -> Nullable<realtime_actix::types::sql::UtcTimestamp>,
        created_at -> realtime_actix::types::sql::UtcTimestamp,
    }
}

diesel::table! {
    labels (name) {
        name -> Text,
        code -> Nullable<Text>,
        weight -> BigInt,
    }
}

/// What a discussion is about.
#[derive(RealtimeResource)]
#[diesel(table_name = topics)]
#[realtime(
    subscription_field_mapping(ids = "pk__in", name = "title__istartswith"),
    lookups(all),
    ordering(all),
    permission = ReadOnly.or(IsAuthenticated),
    hooks
)]
pub(crate) struct Topic {
    #[realtime(read_only)]
    id: i32,
    title: String,
    #[realtime(default = false)]
    locked: bool,
    #[realtime(read_only, on_create = |context| context.user_key())]
    owner_id: i32,
    #[realtime(read_only, on_create = |context| context.now)]
    created_at: DateTime<Utc>,
}

impl Hooks for Topic {
    fn validate(draft: &mut Draft, _before: Option<&Self>, _context: &Context<'_>) -> Result<(), Error> {
        draft.check_length("title", 1..=200);
        Ok(())
    }
}

/// What somebody says in a topic.
#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
#[realtime(
    subscription_field_mapping(
        ids = "pk__in",
        topic = "topic_id__exact",
        min_score = "score__gte",
        text = "body__icontains"
    ),
    lookups(all),
    ordering(all),
    policy,
    hooks
)]
pub(crate) struct Comment {
    #[realtime(read_only)]
    id: i64,
    topic_id: i32,
    #[realtime(read_only, on_create = |context| context.user_key())]
    author_id: i32,
    body: String,
    #[realtime(default = 0)]
    score: i32,
    rating: Option<f64>,
    #[realtime(default = Status::Published)]
    status: Status,
    #[realtime(read_only)]
    edited_at: Option<DateTime<Utc>>,
    #[realtime(read_only, on_create = |context| context.now)]
    created_at: DateTime<Utc>,
}

impl Hooks for Comment {
    fn validate(draft: &mut Draft, before: Option<&Self>, context: &Context<'_>) -> Result<(), Error> {
        draft.check_length("body", 1..=10_000);
        if let Some(before) = before
            && draft.get("body").is_some_and(|body| !body.is_same(&before.body.as_str().into()))
        {
            draft.set("edited_at", Some(context.now));
        }
        Ok(())
    }
}

impl Policy for Comment {
    fn permission(ask: &Ask<'_, Self>) -> Verdict {
        ReadOnly
            .or(IsAuthenticated.on(&[Action::Create]))
            .or(IsOwner(comments::author_id))
            .or(Account::is_staff)
            .decide(ask)
    }

    /// What is published; what is not, its author and staff see.
    fn visible(principal: &Principal) -> Rows<Self> {
        let published = Rows::equal(comments::status, Status::Published);
        match principal.user_key::<i32>() {
            Ok(_) if Account::is_staff(principal) => Rows::all(),
            Ok(user) => published.or(Rows::equal(comments::author_id, user)),
            Err(_) => published,
        }
    }
}

/// The comments as a feed that is read only.
#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
#[realtime(
    stream = "topic-feed",
    allowed_actions(list, retrieve, subscribe),
    subscription_field_mapping(topic = "topic_id__exact"),
    lookups(id(exact, in), topic_id(exact, in), created_at(all)),
    ordering(created_at)
)]
pub(crate) struct FeedItem {
    id: i64,
    topic_id: i32,
    author_id: i32,
    body: String,
    created_at: DateTime<Utc>,
}

/// A label, known by the name that its maker gives it.
#[derive(RealtimeResource)]
#[diesel(table_name = labels, primary_key(name))]
#[realtime(permission = AllowAny, lookups(all), ordering(all))]
pub(crate) struct Label {
    name: String,
    code: Option<String>,
    #[realtime(default = 1)]
    weight: i64,
}

/// Who sees a comment.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, AsExpression, FromSqlRow, RealtimeEnum,
)]
#[diesel(sql_type = Text)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Draft,
    Published,
    Hidden,
}

impl<DB> ToSql<Text, DB> for Status
where
    DB: Backend,
    str: ToSql<Text, DB>,
{
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        let text = match self {
            Self::Draft => "draft",
            Self::Published => "published",
            Self::Hidden => "hidden",
        };
        text.to_sql(out)
    }
}

impl<DB> FromSql<Text, DB> for Status
where
    DB: Backend,
    String: FromSql<Text, DB>,
{
    fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
        match String::from_sql(bytes)?.as_str() {
            "draft" => Ok(Self::Draft),
            "published" => Ok(Self::Published),
            "hidden" => Ok(Self::Hidden),
            other => Err(format!("{other:?} is no status of a comment").into()),
        }
    }
}

pub(crate) fn on_comment(realtime: &Realtime, observe: impl Fn(&Realtime, i32) + Send + 'static) {
    realtime.on_change::<Comment>(move |realtime, change| {
        let comment = change.after_as::<Comment>().or(change.before_as());
        if let Some(comment) = comment {
            observe(realtime, comment.author_id);
        }
    });
}

/// Makes the resources of the tests live.
pub trait SqliteResources {
    /// All of them.
    #[must_use]
    fn all_resources(self) -> Self;

    /// The topics alone.
    #[must_use]
    fn topics(self) -> Self;
}

impl SqliteResources for Connect {
    fn all_resources(self) -> Self {
        self.topics().resource::<Comment>().resource::<FeedItem>().resource::<Label>()
    }

    fn topics(self) -> Self {
        self.resource::<Topic>()
    }
}
