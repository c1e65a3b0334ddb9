//! docs/attributes.md.

use chrono::{DateTime, Utc};
use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql};
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Text;
use realtime_actix::policy::{IsAuthenticated, IsOwner, ReadOnly};
use realtime_actix::{Action, RealtimeEnum, RealtimeResource};
use serde::{Deserialize, Serialize};

mod schema {
    diesel::table! {
        comments (id) {
            id -> BigInt,
            topic_id -> Integer,
            author_id -> Integer,
            body -> Text,
            score -> Integer,
            created_at -> realtime_actix::types::sql::UtcTimestamp,
        }
    }
}

use schema::comments;

/// A remark in a topic.
#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
#[realtime(
    subscription_field_mapping(ids = "pk__in", topic = "topic_id__exact", text = "body__icontains"),
    lookups(all),
    ordering(id, created_at),
    permission = ReadOnly.or(IsAuthenticated.on(&[Action::Create])).or(IsOwner(comments::author_id)),
)]
pub struct Comment {
    #[realtime(read_only)]
    pub id: i64,
    pub topic_id: i32,
    #[realtime(read_only, on_create = |context| context.user_key())]
    pub author_id: i32,
    pub body: String,
    #[realtime(default = 0)]
    pub score: i32,
    #[realtime(read_only, on_create = |context| context.now)]
    pub created_at: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, RealtimeEnum)]
#[serde(rename_all = "lowercase")]
enum Status {
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
            other => Err(format!("{other:?} is no status").into()),
        }
    }
}
