//! The examples of realtime-derive.

use chrono::{DateTime, Utc};
use realtime_core::{RealtimeEnum, RealtimeResource};
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

#[derive(Clone, Copy, Serialize, Deserialize, RealtimeEnum)]
#[serde(rename_all = "lowercase")]
enum Status {
    Draft,
    Published,
}
