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
    #[realtime(writeonly)]
    name: String,
    #[realtime(require)]
    note: Option<String>,
    #[realtime(defualt = 1)]
    count: i32,
    #[realtime(validates(url))]
    ratio: f64,
    #[realtime(serialise_with = |row| row.id)]
    at: Option<chrono::NaiveDateTime>,
}

fn main() {}
