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
    id: i32,
    #[realtime(serialize_with = |row| row.nothing)]
    name: String,
    #[realtime(serialize_with = |row: &Row| std::time::Duration::from_secs(row.id as u64))]
    note: Option<String>,
}

fn main() {}
