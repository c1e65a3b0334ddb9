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
#[realtime(
    stream = comments,
    primary_key("id"),
    hooks = true,
    allowed_actions = "list",
    lookups = all,
    ordering(all, id),
    crate = "realtime_core",
    subscription_field_mapping(ids = pk__in, "topic", text("body"))
)]
struct Comment {
    id: i64,
}

fn main() {}
