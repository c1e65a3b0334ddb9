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
#[realtime(stream = "comments" hooks, ordering(id; body))]
struct Comment {
    id: i64,
    #[realtime(read_only skip)]
    body: String,
}

fn main() {}
