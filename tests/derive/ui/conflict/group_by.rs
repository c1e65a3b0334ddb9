//! Groups that nobody could subscribe to.

use realtime_core::RealtimeResource;

diesel::table! {
    comments (id) {
        id -> BigInt,
        topic_id -> Integer,
        body -> Text,
        tags -> Json,
    }
}

#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
#[realtime(group_by, allowed_actions(list))]
struct NoValue {
    id: i64,
}

#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
#[realtime(group_by(), group_by = id)]
struct Twice {
    id: i64,
}

#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
#[realtime(group_by = "topic_id")]
struct Text {
    id: i64,
    #[realtime(group_by)]
    topic_id: i32,
}

#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
#[realtime(group_by = topics_id, allowed_actions(list, retrieve))]
struct Unknown {
    id: i64,
    topic_id: i32,
}

#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
#[realtime(group_by(topic_id, id, pk, topic_id, body))]
struct SameField {
    id: i64,
    topic_id: i32,
    #[realtime(skip)]
    body: String,
}

#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
#[realtime(group_by(topic_id, tags))]
struct OfJson {
    id: i64,
    topic_id: i32,
    tags: serde_json::Value,
}

fn main() {}
