//! docs/attributes.md.

use chrono::{DateTime, Utc};
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
