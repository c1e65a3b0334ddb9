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
    #[realtime(skip, validate(email))]
    name: String,
    #[realtime(skip, help = "x", example = "y")]
    note: Option<String>,
    #[realtime(skip, write_only, required)]
    count: i32,
}

fn main() {}
