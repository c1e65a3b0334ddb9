//! How `view_of` is written.

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
        comments -> BigInt,
    }
}

#[derive(RealtimeResource)]
#[diesel(table_name = topic_cards)]
#[realtime(view_of)]
struct NoValue {
    id: i32,
}

#[derive(RealtimeResource)]
#[diesel(table_name = topic_cards)]
#[realtime(view_of())]
struct Nothing {
    id: i32,
}

#[derive(RealtimeResource)]
#[diesel(table_name = topic_cards)]
#[realtime(view_of = "comments")]
struct Text {
    id: i32,
}

#[derive(RealtimeResource)]
#[diesel(table_name = topic_cards)]
#[realtime(view_of(comments))]
struct NoColumn {
    id: i32,
}

#[derive(RealtimeResource)]
#[diesel(table_name = topic_cards)]
#[realtime(view_of(comments(), comments(topic_id = "id")))]
struct NoColumns {
    id: i32,
}

#[derive(RealtimeResource)]
#[diesel(table_name = topic_cards)]
#[realtime(view_of(comments(topic_id = id), comments(topic_id = id)))]
struct Twice {
    id: i32,
}

#[derive(RealtimeResource)]
#[diesel(table_name = topic_cards)]
struct OnAField {
    #[realtime(view_of(comments(topic_id)))]
    id: i32,
}

fn main() {}
