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
#[diesel(table_name, some_option_of_tomorrow(a, b = "c"), primary_key = id)]
struct Comment {
    id: i64,
    #[diesel(column_name = 3)]
    body: String,
}

fn main() {}
