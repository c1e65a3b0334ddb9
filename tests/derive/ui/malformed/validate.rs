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
    #[realtime(validate)]
    name: String,
    #[realtime(validate())]
    note: Option<String>,
    #[realtime(validate = 5)]
    count: i32,
    #[realtime(validate(5))]
    ratio: f64,
}

fn main() {}
