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
#[realtime(stream = "")]
struct Empty {
    id: i64,
}

#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
#[realtime(stream = "my comments")]
struct Space {
    id: i64,
}

#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
#[realtime(stream = "openapi.json")]
struct Reserved {
    id: i64,
}

diesel::table! {
    ws (id) {
        id -> BigInt,
    }
}

#[derive(RealtimeResource)]
#[diesel(table_name = ws)]
struct Default {
    id: i64,
}

fn main() {}
