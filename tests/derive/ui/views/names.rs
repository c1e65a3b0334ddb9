//! Tables, columns and fields of `view_of` that there are not.

use realtime_core::RealtimeResource;

diesel::table! {
    comments (id) {
        id -> BigInt,
        topic_id -> Integer,
    }
}

diesel::table! {
    topic_cards (id) {
        id -> Integer,
        title -> Text,
        comments -> BigInt,
    }
}

#[derive(RealtimeResource)]
#[diesel(table_name = topic_cards)]
#[realtime(view_of(comments(topic_id)))]
struct NoSuchField {
    id: i32,
}

#[derive(RealtimeResource)]
#[diesel(table_name = topic_cards)]
#[realtime(view_of(comments(topic_id = topic), comments(id = title)))]
struct Hidden {
    #[realtime(rename = "number")]
    id: i32,
    #[realtime(skip)]
    title: String,
}

fn main() {}
