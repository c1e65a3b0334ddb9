//! docs/postgres.md.

use diesel_async::SimpleAsyncConnection;
use realtime_actix::Realtime;

use super::attributes::Comment;

const TABLES: &str = "CREATE TABLE IF NOT EXISTS comments (id bigint PRIMARY KEY)";

async fn start() -> Result<Realtime, Box<dyn std::error::Error>> {
    let realtime = Realtime::connect("postgres://forum:secret@db.example/forum")
        .prepare_postgres(|connection| Box::pin(async move { Ok(connection.batch_execute(TABLES).await?) }))
        .resource::<Comment>()
        .start()
        .await?;
    Ok(realtime)
}
