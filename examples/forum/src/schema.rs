//! The tables, as Diesel knows them; `schema.sql` creates them.

diesel::table! {
    users (id) {
        id -> Integer,
        username -> Text,
        is_staff -> Bool,
        joined_at -> realtime_actix::types::sql::UtcTimestamp,
    }
}

diesel::table! {
    topics (id) {
        id -> Integer,
        title -> Text,
        locked -> Bool,
        owner_id -> Integer,
        created_at -> realtime_actix::types::sql::UtcTimestamp,
    }
}

diesel::table! {
    comments (id) {
        id -> BigInt,
        topic_id -> Integer,
        author_id -> Integer,
        body -> Text,
        score -> Integer,
        rating -> Nullable<Double>,
        status -> Text,
        edited_at -> Nullable<realtime_actix::types::sql::UtcTimestamp>,
        created_at -> realtime_actix::types::sql::UtcTimestamp,
    }
}
