//! The examples of realtime-derive.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use realtime_core::{Context, Draft, Error, RealtimeEnum, RealtimeResource, Store, actions};
use serde::{Deserialize, Serialize};

diesel::table! {
    comments (id) {
        id -> BigInt,
        topic_id -> Integer,
        body -> Text,
        created_at -> realtime_core::types::sql::UtcTimestamp,
    }
}

/// A remark in a topic.
#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
#[realtime(subscription_field_mapping(topic = "topic_id__exact"), lookups(all), ordering(all))]
struct Comment {
    #[realtime(read_only)]
    id: i64,
    topic_id: i32,
    body: String,
    #[realtime(read_only, on_create = |context| context.now)]
    created_at: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, RealtimeEnum)]
#[serde(rename_all = "lowercase")]
enum Status {
    Draft,
    Published,
}

mod schema {
    diesel::table! {
        topics (id) {
            id -> Integer,
            locked -> Bool,
        }
    }
}

#[derive(RealtimeResource)]
#[diesel(table_name = schema::topics)]
#[realtime(actions)]
struct Topic {
    id: i32,
    locked: bool,
}

#[actions]
impl Topic {
    /// Nothing more is said in it.
    #[action]
    async fn lock(&self, _: &Context<'_>, store: &mut Store<'_>) -> Result<Arc<Self>, Error> {
        let mut draft = Draft::of::<Self>();
        draft.set("locked", true);
        store.update(self, &draft).await
    }
}
