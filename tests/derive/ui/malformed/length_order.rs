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
    #[realtime(validate(length(min = 5, max = 4)))]
    name: String,
    #[realtime(validate(length(min = 1, min = 2)))]
    note: Option<String>,
    #[realtime(validate(length(5)))]
    data: serde_json::Value,
}

fn main() {}
