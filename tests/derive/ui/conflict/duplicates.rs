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
#[realtime(stream = "comments", ordering(id), stream = "remarks")]
#[realtime(ordering(body, body))]
#[realtime(
    lookups(body(exact, exact), body(all)),
    allowed_actions(list, list),
    subscription_field_mapping(text = "body", text = "body__icontains")
)]
struct Comment {
    id: i64,
    #[realtime(read_only, read_only)]
    body: String,
}

fn main() {}
