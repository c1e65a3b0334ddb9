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
    #[realtime(validate(message = "x"))]
    name: String,
    #[realtime(validate(email, message = 5))]
    note: Option<String>,
}

fn main() {}
