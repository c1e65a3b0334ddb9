use realtime_core::RealtimeResource;

diesel::table! {
    topics (id) {
        id -> Integer,
        title -> Text,
    }
}

#[derive(RealtimeResource)]
#[diesel(table_name = topics)]
#[realtime(pagination(default = 0, most = 10), search())]
struct None {
    id: i32,
    title: String,
}

#[derive(RealtimeResource)]
#[diesel(table_name = topics)]
#[realtime(pagination(max = 10), search(titel))]
struct Misspelt {
    id: i32,
    title: String,
}

#[derive(RealtimeResource)]
#[diesel(table_name = topics)]
#[realtime(pagination = 10, search)]
struct Otherwise {
    id: i32,
    title: String,
}

fn main() {}
