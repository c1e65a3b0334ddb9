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
#[realtime(steam = "comments", colour = "red", table_name = comments, read_only)]
struct Comment {
    #[realtime(readonly)]
    id: i64,
    #[realtime(defualt = "", stream = "bodies", column_name = text)]
    body: String,
}

fn main() {}
