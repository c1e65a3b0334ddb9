use realtime_core::RealtimeResource;

diesel::table! {
    rows (id) {
        id -> Integer,
        name -> Text,
        note -> Nullable<Text>,
        count -> Integer,
        ratio -> Double,
        price -> realtime_core::types::sql::DecimalNumber,
        day -> Date,
        at -> Nullable<Timestamp>,
        data -> Json,
    }
}

#[derive(RealtimeResource)]
#[diesel(table_name = rows)]
struct Row {
    #[realtime(serialize_with = |row| row.id + 1)]
    id: i32,
    name: String,
}

fn main() {}
