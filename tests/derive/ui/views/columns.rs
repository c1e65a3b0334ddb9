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
#[realtime(view_of(comments(topic = id), topics(id)))]
struct TopicCard {
    id: i32,
}

fn main() {}
