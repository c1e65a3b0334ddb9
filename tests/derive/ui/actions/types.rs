use realtime_core::{Context, Error, RealtimeResource, Store, actions};

diesel::table! {
    topics (id) {
        id -> Integer,
    }
}

#[derive(RealtimeResource)]
#[diesel(table_name = topics)]
#[realtime(actions)]
struct Topic {
    id: i32,
}

struct Moves;

#[actions]
impl Topic {
    #[action]
    async fn move_on(_: Moves, _: &Context<'_>, _: &mut Store<'_>) -> Result<(), Error> {
        Ok(())
    }

    #[action]
    async fn count(_: &Context<'_>, _: &mut Store<'_>) -> Result<Moves, Error> {
        Ok(Moves)
    }

    #[action(permission = 5)]
    async fn open(_: &Context<'_>, _: &mut Store<'_>) -> Result<(), Error> {
        Ok(())
    }
}

fn main() {}
