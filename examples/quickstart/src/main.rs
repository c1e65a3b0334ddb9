//! A table, a model with one derive, and a server: a REST API, and a WebSocket that tells of every committed change.

use actix_web::{App, HttpServer};
use diesel::prelude::*;
use realtime_actix::policy::AllowAny;
use realtime_actix::{Realtime, RealtimeResource, prepare_connection};

mod schema {
    diesel::table! {
        comments (id) {
            id -> Integer,
            topic -> Text,
            body -> Text,
        }
    }
}

/// What somebody says about a topic.
#[derive(RealtimeResource)]
#[diesel(table_name = schema::comments)]
#[realtime(
    permission = AllowAny,
    lookups(all),
    ordering(all),
    subscription_field_mapping(text = "body__icontains")
)]
struct Comment {
    #[realtime(read_only)]
    id: i32,
    topic: String,
    body: String,
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS comments (
    id INTEGER PRIMARY KEY NOT NULL, topic TEXT NOT NULL, body TEXT NOT NULL)";

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let realtime = Realtime::connect("sqlite://quickstart.db")
        .prepare(|connection| {
            diesel::sql_query(TABLE).execute(connection)?;
            Ok(())
        })
        .resource::<Comment>()
        .start()
        .await?;

    HttpServer::new(move || App::new().service(realtime.scope("/api")))
        .on_connect(prepare_connection)
        .h1_allow_half_closed(false)
        .bind("127.0.0.1:8080")?
        .run()
        .await?;
    Ok(())
}
