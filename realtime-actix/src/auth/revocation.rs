//! Whose sockets shall be closed, or looked at anew.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

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

/// Revocations that are remembered: more than are made while somebody is asked who he is.
const REMEMBERED: usize = 10_000;

/// What an application has said of users and sessions. It holds from the moment at which it was said: for whatever is
/// committed later, and for those who were just being asked who they are.
#[derive(Debug, Default)]
pub(crate) struct Revocations(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    /// How many there have been.
    count: u64,
    /// The last of them.
    recent: VecDeque<Revocation>,
    /// Those that the workers have not been told of.
    untold: Vec<Revocation>,
}

/// What has been said of somebody since he was asked who he is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// Nothing.
    Nothing,
    /// He may be another one by now.
    Changed,
    /// He may no longer be here.
    Ended,
}

impl Revocations {
    fn said(&self) -> MutexGuard<'_, Said> {
        // Nothing panics half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there have been: those that follow are news to whoever is asked now.
    pub(crate) fn count(&self) -> u64 {
        self.said().count
    }

    pub(crate) fn say(&self, revocation: Revocation) {
        let mut said = self.said();
        said.count += 1;
        if said.recent.len() == REMEMBERED {
            said.recent.pop_front();
        }
        said.recent.push_back(revocation.clone());
        said.untold.push(revocation);
    }

    /// Those that have not been taken yet, to be told to the workers.
    pub(crate) fn take(&self) -> Vec<Revocation> {
        std::mem::take(&mut self.said().untold)
    }

    /// What has been said of somebody since he was asked who he is. Where that is no longer known he has to ask anew.
    pub(crate) fn since_asked(&self, identity: &Identity) -> Since {
        let Some(asked) = identity.asked() else { return Since::Nothing };
        let said = self.said();
        let new = usize::try_from(said.count - asked).unwrap_or(usize::MAX);
        if new > said.recent.len() {
            return Since::Ended;
        }
        let concerns = said.recent.iter().rev().take(new).filter(|revocation| revocation.concerns(identity));
        concerns.fold(Since::Nothing, |since, revocation| match since {
            Since::Nothing | Since::Changed if !revocation.ends() => Since::Changed,
            _ => Since::Ended,
        })
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

    #[test]
    fn what_is_said_while_somebody_is_asked_who_he_is_holds_for_him() {
        let revocations = Revocations::default();
        let ann = || Identity::of(Principal::user(1)).in_session("a").asked_after(revocations.count());
        let of_user = |key: i64| Revocation::User(Value::Int(key));
        let before = ann();
        revocations.say(of_user(2));
        assert_eq!(revocations.since_asked(&before), Since::Nothing, "somebody else");
        revocations.say(Revocation::Refresh(Value::Int(1)));
        assert_eq!(revocations.since_asked(&before), Since::Changed);
        let between = ann();
        assert_eq!(revocations.since_asked(&between), Since::Nothing, "he was asked afterwards");
        revocations.say(Revocation::Session("a".into()));
        revocations.say(Revocation::Refresh(Value::Int(1)));
        for identity in [&before, &between] {
            assert_eq!(revocations.since_asked(identity), Since::Ended);
        }
        assert_eq!(revocations.since_asked(&ann()), Since::Nothing);
        assert_eq!(
            revocations.since_asked(&Identity::of(Principal::user(1))),
            Since::Nothing,
            "made by hand"
        );
        assert_eq!(revocations.take().len(), 4);
        assert!(revocations.take().is_empty(), "each is told once");
        let late = ann();
        for _ in 0..REMEMBERED {
            revocations.say(of_user(2));
        }
        assert_eq!(revocations.since_asked(&late), Since::Nothing);
        revocations.say(of_user(2));
        assert_eq!(revocations.since_asked(&late), Since::Ended, "that is too long ago");
    }
}
