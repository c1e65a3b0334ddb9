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

#[actions]
impl Topic {
    #[action]
    fn waits_for_nothing(&self, _: &Context<'_>, _: &mut Store<'_>) -> Result<(), Error> {
        Ok(())
    }

    #[action]
    async fn consumes(self, _: &Context<'_>, _: &mut Store<'_>) -> Result<(), Error> {
        Ok(())
    }

    #[action]
    async fn has_no_store(&self, _: &Context<'_>) -> Result<(), Error> {
        Ok(())
    }

    #[action]
    async fn borrows(_: &str, _: &Context<'_>, _: &mut Store<'_>) -> Result<(), Error> {
        Ok(())
    }

    #[action]
    async fn says_nothing(&self, _: &Context<'_>, _: &mut Store<'_>) {}

    #[action]
    async fn update(&self, _: &Context<'_>, _: &mut Store<'_>) -> Result<(), Error> {
        Ok(())
    }

    #[action(name = "Lock it")]
    async fn lock(&self, _: &Context<'_>, _: &mut Store<'_>) -> Result<(), Error> {
        Ok(())
    }

    #[action(nme = "lock")]
    async fn open(&self, _: &Context<'_>, _: &mut Store<'_>) -> Result<(), Error> {
        Ok(())
    }

    #[action(name = "open", throttle = "often")]
    async fn open_again(&self, _: &Context<'_>, _: &mut Store<'_>) -> Result<(), Error> {
        Ok(())
    }
}

fn main() {}
