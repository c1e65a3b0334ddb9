use realtime_core::RealtimeResource;

diesel::table! {
    topics (id) {
        id -> Integer,
    }
}

diesel::table! {
    comments (id) {
        id -> BigInt,
        topic_id -> Integer,
        writer_id -> Integer,
        reader_id -> Integer,
        parent -> Integer,
        body -> Text,
    }
}

#[derive(RealtimeResource)]
#[diesel(table_name = topics)]
struct Topic {
    id: i32,
}

#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
struct Comment {
    id: i64,
    #[realtime(references = Topic, relation = "body")]
    topic_id: i32,
    #[realtime(references = Topic, relation = "a__b")]
    writer_id: i32,
    #[realtime(relation = "reader", nested)]
    reader_id: i32,
    #[realtime(references = Topic)]
    parent: i32,
    body: String,
}

#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
struct Other {
    id: i64,
    #[realtime(references = Topic, relation = "topic")]
    writer_id: i32,
    #[realtime(references = Topic)]
    topic_id: i32,
    #[realtime(skip, references = Topic)]
    parent: i32,
}

fn main() {}
