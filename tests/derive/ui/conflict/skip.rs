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
#[realtime(lookups(score(gt)))]
struct Comment {
    #[realtime(skip)]
    id: i64,
    #[realtime(skip, read_only, rename = "text", default = "")]
    body: String,
    #[realtime(skip)]
    score: i32,
}

fn main() {}
