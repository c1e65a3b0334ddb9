//! Whose sockets shall be closed, or looked at anew.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use realtime_core::cursor::Position;
use realtime_core::{Principal, Value};

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

    /// The user, as JSON, who may see other rows and fields from now on than before.
    fn changes(&self) -> Option<String> {
        match self {
            Self::User(user) | Self::Refresh(user) => Some(user.to_json().to_string()),
            Self::Session(_) | Self::OtherSessions(..) => None,
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
    changed: Changed,
}

/// Up to where in the feed users may have been told what they could see before something about them changed.
#[derive(Debug, Default)]
struct Changed {
    /// By the user's key as JSON; `None` until it is known.
    positions: HashMap<String, Option<Position>>,
    /// The same users, the one first that changed first.
    order: VecDeque<String>,
}

impl Changed {
    fn set(&mut self, user: String, position: Option<Position>) {
        if let Some(known) = self.positions.get_mut(&user) {
            *known = position;
            return;
        }
        if self.order.len() == REMEMBERED
            && let Some(first) = self.order.pop_front()
        {
            self.positions.remove(&first);
        }
        self.order.push_back(user.clone());
        self.positions.insert(user, position);
    }
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
        if let Some(user) = revocation.changes() {
            said.changed.set(user, None);
        }
        said.untold.push(revocation);
    }

    /// Those that have not been taken yet, to be told to the workers, which have been told all up to a position.
    pub(crate) fn take(&self, position: Position) -> Vec<Revocation> {
        let mut said = self.said();
        let untold = std::mem::take(&mut said.untold);
        for user in untold.iter().filter_map(Revocation::changes) {
            said.changed.set(user, Some(position));
        }
        untold
    }

    /// Somebody sees other rows or fields from a position on, as has been found out by asking.
    pub(crate) fn sees_otherwise(&self, principal: &Principal, position: Position) {
        let Some(user) = principal.user_json() else { return };
        let mut said = self.said();
        // What has been said of him reaches further, or nobody knows yet how far.
        let known = said.changed.positions.get(&user).copied();
        if known.is_none_or(|at| at.is_some_and(|at| at < position)) {
            said.changed.set(user, Some(position));
        }
    }

    /// May somebody have been told what he could see up to a position when he could see something else? Then what came
    /// after it is not all that he has missed.
    pub(crate) fn saw_otherwise(&self, identity: &Identity, position: Position) -> bool {
        let Some(user) = identity.principal().user_json() else { return false };
        let changed = self.said().changed.positions.get(&user).copied();
        changed.is_some_and(|at| at.is_none_or(|at| position <= at))
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
        assert_eq!(revocations.take(Position(0)).len(), 4);
        assert!(revocations.take(Position(0)).is_empty(), "each is told once");
        let late = ann();
        for _ in 0..REMEMBERED {
            revocations.say(of_user(2));
        }
        assert_eq!(revocations.since_asked(&late), Since::Nothing);
        revocations.say(of_user(2));
        assert_eq!(revocations.since_asked(&late), Since::Ended, "that is too long ago");
    }

    #[test]
    fn what_somebody_was_told_before_he_changed_is_nothing_to_go_on_from() {
        let revocations = Revocations::default();
        let of = |key: i32| Identity::of(Principal::user(key)).in_session("a");
        let saw = |key: i32| [4, 5, 6].map(|at| revocations.saw_otherwise(&of(key), Position(at)));
        assert_eq!(saw(1), [false; 3], "nothing is known of him");
        revocations.say(Revocation::Refresh(Value::Int(1)));
        revocations.say(Revocation::User(Value::Int(2)));
        revocations.say(Revocation::Session("a".into()));
        revocations.say(Revocation::OtherSessions(Value::Int(3), "b".into()));
        assert_eq!((saw(1), saw(2), saw(3)), ([true; 3], [true; 3], [false; 3]), "nobody knows from when on");
        assert_eq!(revocations.take(Position(5)).len(), 4);
        assert_eq!((saw(1), saw(2), saw(3)), ([true, true, false], [true, true, false], [false; 3]));
        assert!(!revocations.saw_otherwise(&Identity::anonymous(), Position(4)));
        revocations.sees_otherwise(&Principal::user(3), Position(4));
        assert_eq!(saw(3), [true, false, false], "it was found out by asking");
        revocations.sees_otherwise(&Principal::user(1), Position(4));
        assert_eq!(saw(1), [true, true, false], "what was said reaches further");
        revocations.sees_otherwise(&Principal::user(1), Position(6));
        assert_eq!(saw(1), [true; 3]);
        revocations.say(Revocation::Refresh(Value::Int(3)));
        revocations.sees_otherwise(&Principal::user(3), Position(4));
        assert_eq!(saw(3), [true; 3], "how far that reaches is not known yet");
        // As many are remembered as may be, and none more often than once.
        for key in 10..10 + i64::try_from(REMEMBERED).expect("a number") {
            for _ in 0..2 {
                revocations.say(Revocation::Refresh(Value::Int(key)));
            }
        }
        assert_eq!((saw(1), saw(10)), ([false; 3], [true; 3]));
        let changed = &revocations.said().changed;
        assert_eq!((changed.order.len(), changed.positions.len()), (REMEMBERED, REMEMBERED));
    }
}
