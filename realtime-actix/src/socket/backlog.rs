//! What a connection is sent only after it has been sent what it missed.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use realtime_core::connection::Ticket;
use realtime_core::cursor::Cursor;

use super::outbox::Overflow;

/// One client's live events of the subscriptions that are still behind. Used on its worker's thread only.
#[derive(Debug)]
pub(super) struct Backlog {
    /// Nothing for most of a connection's life, in which it is not behind.
    state: RefCell<Option<Box<State>>>,
    last: Cell<u64>,
    max_bytes: usize,
    max_frames: usize,
}

#[derive(Debug, Default)]
struct State {
    behind: HashMap<Ticket, Waiting>,
    /// Replies that name a position: no subscription may be behind it.
    replies: Vec<Bytes>,
    reply_bytes: usize,
    /// Of the events.
    bytes: usize,
    frames: usize,
}

#[derive(Debug)]
struct Waiting {
    run: Run,
    events: VecDeque<Parcel>,
}

/// Live events of one subscription, end to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parcel {
    pub(super) bytes: Bytes,
    pub(super) frames: usize,
    /// The position right after them.
    pub(super) cursor: Cursor,
}

/// Tells one catching-up from an earlier one of the same subscription, which has been given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run(u64);

impl Backlog {
    pub(super) fn new(max_bytes: usize, max_frames: usize) -> Self {
        Self { state: RefCell::default(), last: Cell::default(), max_bytes, max_frames }
    }

    /// From now on the live events of a subscription wait here. What was begun before is given up.
    pub(super) fn begin(&self, ticket: Ticket) -> Run {
        self.clear(ticket);
        let run = Run(self.last.get() + 1);
        self.last.set(run.0);
        let mut state = self.state.borrow_mut();
        let state = state.get_or_insert_default();
        state.behind.insert(ticket, Waiting { run, events: VecDeque::new() });
        run
    }

    /// Has it neither ended nor been given up?
    pub(super) fn is_behind(&self, ticket: Ticket, run: Run) -> bool {
        let state = self.state.borrow();
        let waiting = state.as_ref().and_then(|state| state.behind.get(&ticket));
        waiting.is_some_and(|waiting| waiting.run == run)
    }

    /// Do the events of the subscription wait?
    pub(super) fn holds(&self, ticket: Ticket) -> bool {
        self.state.borrow().as_ref().is_some_and(|state| state.behind.contains_key(&ticket))
    }

    /// Is no subscription behind?
    pub(super) fn is_empty(&self) -> bool {
        self.state.borrow().is_none()
    }

    /// Keeps the events of a subscription that is behind; gives back those of another.
    pub(super) fn keep(&self, ticket: Ticket, parcel: Parcel) -> Result<Option<Parcel>, Overflow> {
        let mut state = self.state.borrow_mut();
        let Some(state) = &mut *state else { return Ok(Some(parcel)) };
        let Some(waiting) = state.behind.get_mut(&ticket) else { return Ok(Some(parcel)) };
        let bytes = state.bytes + parcel.bytes.len();
        let frames = state.frames + parcel.frames;
        // As in the outbox, one parcel finds room whatever its size.
        if state.frames > 0 && (bytes > self.max_bytes || frames > self.max_frames) {
            return Err(Overflow);
        }
        (state.bytes, state.frames) = (bytes, frames);
        waiting.events.push_back(parcel);
        Ok(None)
    }

    /// Keeps a reply while any subscription is behind, and gives it back otherwise.
    pub(super) fn keep_reply(&self, bytes: Bytes) -> Result<Option<Bytes>, Overflow> {
        let mut state = self.state.borrow_mut();
        let Some(state) = &mut *state else { return Ok(Some(bytes)) };
        let total = state.reply_bytes + bytes.len();
        if !state.replies.is_empty() && (total > self.max_bytes || state.replies.len() >= self.max_frames) {
            return Err(Overflow);
        }
        state.reply_bytes = total;
        state.replies.push(bytes);
        Ok(None)
    }

    /// The oldest events of a subscription that wait.
    pub(super) fn next(&self, ticket: Ticket) -> Option<Parcel> {
        let mut state = self.state.borrow_mut();
        let state = state.as_mut()?;
        let parcel = state.behind.get_mut(&ticket)?.events.pop_front()?;
        state.bytes -= parcel.bytes.len();
        state.frames -= parcel.frames;
        Some(parcel)
    }

    /// Forgets the events of a subscription, which stays behind: they will be read from the log.
    pub(super) fn clear(&self, ticket: Ticket) {
        while self.next(ticket).is_some() {}
    }

    /// The subscription is no longer behind, or has been left. Gives the replies that may be sent now.
    pub(super) fn end(&self, ticket: Ticket) -> Vec<Bytes> {
        self.clear(ticket);
        let mut state = self.state.borrow_mut();
        if let Some(state) = &mut *state {
            state.behind.remove(&ticket);
            if !state.behind.is_empty() {
                return Vec::new();
            }
        }
        state.take().map(|state| state.replies).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEHIND: Ticket = Ticket(1);
    const OTHER: Ticket = Ticket(2);

    fn parcel(bytes: &'static [u8]) -> Parcel {
        Parcel { bytes: Bytes::from_static(bytes), frames: 1, cursor: Cursor::NOWHERE }
    }

    #[test]
    fn the_events_of_what_is_behind_wait_and_those_of_others_do_not() {
        let backlog = Backlog::new(100, 10);
        let run = backlog.begin(BEHIND);
        assert_eq!(backlog.keep(BEHIND, parcel(b"1")).expect("room"), None);
        assert_eq!(backlog.keep(OTHER, parcel(b"2")).expect("room"), Some(parcel(b"2")));
        assert!(backlog.is_behind(BEHIND, run) && backlog.holds(BEHIND) && !backlog.holds(OTHER));
        assert_eq!(backlog.next(BEHIND), Some(parcel(b"1")));
        assert_eq!(backlog.next(BEHIND), None);
        assert!(backlog.end(BEHIND).is_empty());
        assert!(!backlog.is_behind(BEHIND, run) && backlog.is_empty());
    }

    #[test]
    fn a_reply_that_names_a_position_waits_for_every_subscription() {
        let backlog = Backlog::new(100, 10);
        backlog.begin(BEHIND);
        backlog.begin(OTHER);
        assert_eq!(backlog.keep_reply(Bytes::from_static(b"pong")).expect("room"), None);
        assert!(backlog.end(BEHIND).is_empty());
        assert_eq!(backlog.end(OTHER), ["pong"]);
        assert!(backlog.keep_reply(Bytes::from_static(b"pong")).expect("room").is_some());
    }

    #[test]
    fn what_waits_is_bounded_and_given_up_with_what_was_begun() {
        let backlog = Backlog::new(10, 2);
        let run = backlog.begin(BEHIND);
        backlog.keep(BEHIND, parcel(&[0; 20])).expect("one parcel always fits");
        assert!(backlog.keep(BEHIND, parcel(b"x")).is_err());
        assert_ne!(backlog.begin(BEHIND), run);
        assert!(!backlog.is_behind(BEHIND, run));
        for _ in 0..2 {
            backlog.keep(BEHIND, parcel(b"x")).expect("room");
        }
        assert!(backlog.keep(BEHIND, parcel(b"x")).is_err());
        backlog.clear(BEHIND);
        backlog.keep(BEHIND, parcel(b"x")).expect("room");
        // Replies have room of their own.
        assert!(backlog.keep_reply(Bytes::from_static(b"12345")).expect("room").is_none());
        assert!(backlog.keep_reply(Bytes::from_static(b"123456")).is_err());
    }
}
