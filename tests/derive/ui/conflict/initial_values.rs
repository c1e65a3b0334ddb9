use realtime_core::RealtimeResource;

diesel::table! {
    comments (id) {
        id -> BigInt,
        topic_id -> Integer,
        body -> Text,
        score -> Integer,
        rating -> Nullable<Double>,
        pinned -> Bool,
    }
}

#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
struct Comment {
    id: i64,
    #[realtime(read_only, default = 0, on_create = |_| 1)]
    score: i32,
    #[realtime(on_create = |_| 1)]
    topic_id: i32,
}

fn main() {}
