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
#[realtime(throttle(create = "ten/minute", update = "10/month", list = 5, delete))]
struct Row {
    id: i32,
    name: String,
}

fn main() {}
