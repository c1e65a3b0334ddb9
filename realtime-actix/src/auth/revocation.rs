//! Whose sockets shall be closed, or looked at anew.

use realtime_core::Value;

use super::Identity;

/// What an application says of a user or a session.
#[derive(Clone, Debug)]
pub(crate) enum Revocation {
    /// The user may not come in any more.
    User(Value<'static>),
    /// The session has ended.
    Session(String),
    /// All sessions of the user but one have ended.
    OtherSessions(Value<'static>, String),
    /// Something about the user has changed.
    Refresh(Value<'static>),
}

impl Revocation {
    /// Is it about this identity?
    pub(crate) fn concerns(&self, identity: &Identity) -> bool {
        let is = |user: &Value<'static>| identity.principal().is_user(user);
        match self {
            Self::User(user) | Self::Refresh(user) => is(user),
            Self::Session(session) => identity.session() == Some(session),
            Self::OtherSessions(user, session) => is(user) && identity.session() != Some(session),
        }
    }

    /// Does the identity end, rather than change?
    pub(crate) fn ends(&self) -> bool {
        !matches!(self, Self::Refresh(_))
    }
}

#[cfg(test)]
mod tests {
    use realtime_core::Principal;

    use super::*;

    #[test]
    fn others_are_left_alone() {
        let of = |user: i32, session: &str| Identity::of(Principal::user(user)).in_session(session);
        let (here, there, other) = (of(1, "a"), of(1, "b"), of(2, "c"));
        let concerned = |revocation: &Revocation| {
            [&here, &there, &other, &Identity::anonymous()].map(|identity| revocation.concerns(identity))
        };
        assert_eq!(concerned(&Revocation::User(Value::Int(1))), [true, true, false, false]);
        assert_eq!(concerned(&Revocation::Session("b".into())), [false, true, false, false]);
        assert_eq!(
            concerned(&Revocation::OtherSessions(Value::Int(1), "a".into())),
            [false, true, false, false]
        );
        assert_eq!(concerned(&Revocation::Refresh(Value::Int(2))), [false, false, true, false]);
    }
}
