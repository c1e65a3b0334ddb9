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
    #[realtime(default = "no")]
    pinned: bool,
    #[realtime(read_only, on_create = |context| context.now)]
    score: i32,
    #[realtime(read_only, on_create = 3)]
    topic_id: i32,
}

fn main() {}
