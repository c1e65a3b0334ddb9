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
struct Comment<'a, T, const N: usize> {
    id: i64,
    body: &'a str,
    score: T,
    pinned: [bool; N],
}

fn main() {}
