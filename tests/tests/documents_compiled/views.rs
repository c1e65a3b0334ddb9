//! docs/views.md.

use realtime_actix::RealtimeResource;

diesel::table! {
    topics (id) { id -> Integer, title -> Text, }
}

diesel::table! {
    comments (id) { id -> BigInt, topic_id -> Integer, }
}

diesel::table! {
    topic_cards (id) { id -> Integer, title -> Text, comments -> BigInt, best -> Nullable<Integer>, }
}

#[derive(RealtimeResource)]
#[diesel(table_name = topic_cards)]
#[realtime(view_of(topics(id), comments(topic_id = id)), lookups(all))]
pub struct TopicCard {
    pub id: i32,
    pub title: String,
    pub comments: i64,
    pub best: Option<i32>,
}
