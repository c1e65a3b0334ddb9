//! What a connection is sent only after it has been sent what it missed.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use realtime_core::group::GroupId;

use super::outbox::Overflow;

/// One connection's events of the groups that are still behind. Used on its worker's thread only.
#[derive(Debug)]
pub(super) struct Backlog {
    state: RefCell<State>,
    max_bytes: usize,
    max_frames: usize,
}

#[derive(Debug, Default)]
struct State {
    groups: HashMap<GroupId, Waiting>,
    /// Replies that name a position: no group may be behind it.
    replies: Vec<Bytes>,
    bytes: usize,
    frames: usize,
    last: u64,
}

#[derive(Debug)]
struct Waiting {
    run: Run,
    events: VecDeque<(Bytes, usize)>,
}

/// Tells one catching-up from an earlier one with the same group, which has been given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run(u64);

impl Backlog {
    pub(super) fn new(max_bytes: usize, max_frames: usize) -> Self {
        Self { state: RefCell::default(), max_bytes, max_frames }
    }

    /// From now on the events of a group wait here.
    pub(super) fn begin(&self, group: GroupId) -> Run {
        let mut state = self.state.borrow_mut();
        state.last += 1;
        let run = Run(state.last);
        state.groups.insert(group, Waiting { run, events: VecDeque::new() });
        run
    }

    /// Has it neither ended nor been given up?
    pub(super) fn is_behind(&self, group: GroupId, run: Run) -> bool {
        self.state.borrow().groups.get(&group).is_some_and(|waiting| waiting.run == run)
    }

    /// Keeps the events of a group that is behind; gives back those of another.
    pub(super) fn keep(
        &self,
        group: GroupId,
        bytes: Bytes,
        frames: usize,
    ) -> Result<Option<Bytes>, Overflow> {
        let state = &mut *self.state.borrow_mut();
        let Some(waiting) = state.groups.get_mut(&group) else { return Ok(Some(bytes)) };
        // As in the outbox, one parcel finds room whatever its size.
        let is_full = state.bytes + bytes.len() > self.max_bytes || state.frames + frames > self.max_frames;
        if state.frames > 0 && is_full {
            return Err(Overflow);
        }
        state.bytes += bytes.len();
        state.frames += frames;
        waiting.events.push_back((bytes, frames));
        Ok(None)
    }

    /// Keeps a reply while any group is behind, and gives it back otherwise. There are as many as requests may run.
    pub(super) fn keep_reply(&self, bytes: Bytes) -> Result<Option<Bytes>, Overflow> {
        let mut state = self.state.borrow_mut();
        if state.groups.is_empty() {
            return Ok(Some(bytes));
        }
        if state.frames > 0 && (state.bytes + bytes.len() > self.max_bytes || state.frames >= self.max_frames)
        {
            return Err(Overflow);
        }
        state.bytes += bytes.len();
        state.frames += 1;
        state.replies.push(bytes);
        Ok(None)
    }

    /// The oldest events of a group that wait.
    pub(super) fn next(&self, group: GroupId) -> Option<(Bytes, usize)> {
        let state = &mut *self.state.borrow_mut();
        let (bytes, frames) = state.groups.get_mut(&group)?.events.pop_front()?;
        state.bytes -= bytes.len();
        state.frames -= frames;
        Some((bytes, frames))
    }

    /// The group is no longer behind, or has been left. Gives the replies that may be sent now.
    pub(super) fn end(&self, group: GroupId) -> Vec<Bytes> {
        let state = &mut *self.state.borrow_mut();
        for (bytes, frames) in state.groups.remove(&group).into_iter().flat_map(|waiting| waiting.events) {
            state.bytes -= bytes.len();
            state.frames -= frames;
        }
        if !state.groups.is_empty() {
            return Vec::new();
        }
        state.bytes = 0;
        state.frames = 0;
        std::mem::take(&mut state.replies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEHIND: GroupId = GroupId(1);
    const OTHER: GroupId = GroupId(2);

    #[test]
    fn the_events_of_a_group_that_is_behind_wait_and_those_of_others_do_not() {
        let backlog = Backlog::new(100, 10);
        let run = backlog.begin(BEHIND);
        assert_eq!(backlog.keep(BEHIND, Bytes::from_static(b"1"), 1).expect("room"), None);
        assert_eq!(
            backlog.keep(OTHER, Bytes::from_static(b"2"), 1).expect("room").as_deref(),
            Some(&b"2"[..])
        );
        assert!(backlog.is_behind(BEHIND, run));
        assert_eq!(backlog.next(BEHIND), Some((Bytes::from_static(b"1"), 1)));
        assert_eq!(backlog.next(BEHIND), None);
        assert!(backlog.end(BEHIND).is_empty());
        assert!(!backlog.is_behind(BEHIND, run));
    }

    #[test]
    fn a_reply_that_names_a_position_waits_for_every_group() {
        let backlog = Backlog::new(100, 10);
        backlog.begin(BEHIND);
        backlog.begin(OTHER);
        assert_eq!(backlog.keep_reply(Bytes::from_static(b"pong")).expect("room"), None);
        assert!(backlog.end(BEHIND).is_empty());
        assert_eq!(backlog.end(OTHER), ["pong"]);
        assert!(backlog.keep_reply(Bytes::from_static(b"pong")).expect("room").is_some());
    }

    #[test]
    fn what_waits_is_bounded_and_given_up_with_its_group() {
        let backlog = Backlog::new(10, 2);
        let run = backlog.begin(BEHIND);
        backlog.keep(BEHIND, Bytes::from_static(&[0; 20]), 1).expect("one parcel always fits");
        assert!(backlog.keep(BEHIND, Bytes::from_static(b"x"), 1).is_err());
        backlog.end(BEHIND);
        assert_ne!(backlog.begin(BEHIND), run);
        assert!(!backlog.is_behind(BEHIND, run));
        for _ in 0..2 {
            backlog.keep(BEHIND, Bytes::from_static(b"x"), 1).expect("room");
        }
        assert!(backlog.keep(BEHIND, Bytes::from_static(b"x"), 1).is_err());
    }
}
