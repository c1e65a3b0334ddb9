//! The models, each made live by one derive, and what the forum adds to their writes.

use chrono::{DateTime, Utc};
use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Text;
use realtime_actix::policy::{IsAuthenticated, ReadOnly};
use realtime_actix::{Context, Draft, Error, Hooks, RealtimeEnum, RealtimeResource};
use serde::{Deserialize, Serialize};

use crate::schema::{comments, topics};

/// What a discussion is about.
#[derive(RealtimeResource)]
#[diesel(table_name = topics)]
#[realtime(
    stream = "topics",
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
    /// The user who made it.
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
    stream = "comments",
    subscription_field_mapping(
        ids = "pk__in",
        topic = "topic_id__exact",
        min_score = "score__gte",
        text = "body__icontains"
    ),
    lookups(all),
    ordering(all),
    permission = ReadOnly.or(IsAuthenticated),
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

/// Who sees a comment.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, AsExpression, FromSqlRow, RealtimeEnum,
)]
#[diesel(sql_type = Text)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// Its author only.
    Draft,
    /// Everybody.
    Published,
    /// Its author and staff.
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
        let text = String::from_sql(bytes)?;
        match text.as_str() {
            "draft" => Ok(Self::Draft),
            "published" => Ok(Self::Published),
            "hidden" => Ok(Self::Hidden),
            other => Err(format!("{other:?} is no status of a comment").into()),
        }
    }
}
