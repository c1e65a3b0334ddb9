//! The users of the tests, in the test kit's store.

use realtime_actix::Principal;
use realtime_actix::testing::Users;

/// What is known of a user beside his key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    /// May he do everything?
    pub staff: bool,
}

impl Account {
    /// Is whoever asks one of the staff?
    pub fn is_staff(principal: &Principal) -> bool {
        principal.claims::<Self>().is_some_and(|account| account.staff)
    }
}

/// A store without users. Those who are admins are staff.
pub fn nobody() -> Users {
    Users::of(|user| Principal::user(user.key).with(Account { staff: user.is_admin }))
}

/// `ann` and `bob`, whose keys are [`ANN`](crate::ANN) and [`BOB`](crate::BOB), and `staff`, one of the staff. Each has a
/// session that is called like him.
pub fn people() -> Users {
    let users = nobody();
    for name in ["ann", "bob", "staff"] {
        let user = users.create_user(name, "pw");
        users.set_admin(&user, name == "staff");
        users.begin_session(&user, name);
    }
    users
}
