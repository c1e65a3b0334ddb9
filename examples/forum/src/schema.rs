//! The tables, as Diesel knows them; `schema.sql` and `schema_postgres.sql` create them.

diesel::table! {
    users (id) {
        id -> Integer,
        username -> Text,
        password_hash -> Nullable<Text>,
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

diesel::table! {
    notes (id) {
        id -> realtime_actix::types::sql::Uuid,
        owner_id -> Integer,
        title -> Text,
        body -> Nullable<Text>,
        tags -> Json,
        pinned -> Bool,
        due -> Nullable<Date>,
        amount -> Nullable<realtime_actix::types::sql::DecimalNumber>,
    }
}

diesel::table! {
    sessions (name) {
        name -> Text,
        user_id -> Integer,
        created_at -> realtime_actix::types::sql::UtcTimestamp,
        expires_at -> realtime_actix::types::sql::UtcTimestamp,
    }
}

diesel::joinable!(sessions -> users (user_id));
diesel::allow_tables_to_appear_in_same_query!(sessions, users);
