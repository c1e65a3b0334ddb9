//! Tickets: what opens one socket, once, soon.
//!
//! A browser cannot set the headers of a handshake, and what stands in a query ends up in logs. So it is good for one
//! socket, for half a minute.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use realtime_core::{Code, Error};

use super::Identity;

/// How long a ticket is good.
const LIFETIME: Duration = Duration::from_secs(30);

/// Tickets that wait to be used, at most.
const MOST: usize = 100_000;

/// Those of one user, at most: nobody can take them away from others.
const MOST_OF_USER: usize = 256;

/// Those of all who are nobody in particular, who cannot be told apart. The rest is for the others.
const MOST_OF_NOBODY: usize = MOST / 2;

/// The tickets of one program.
#[derive(Debug, Default)]
pub(crate) struct Tickets(Mutex<Waiting>);

/// Tickets that wait to be used.
#[derive(Debug, Default)]
struct Waiting {
    /// By their number, so that the first to be over comes first.
    tickets: BTreeMap<u64, Ticket>,
    numbers: HashMap<String, u64>,
    next: u64,
    /// How many there are of each user, by his key as JSON.
    counts: HashMap<Option<String>, usize>,
}

#[derive(Debug)]
struct Ticket {
    text: String,
    identity: Identity,
    until: Instant,
}

impl Tickets {
    /// A ticket for a socket of somebody.
    ///
    /// # Errors
    /// 429 where too many of his wait, 503 where too many wait in all or there is no randomness.
    pub(crate) fn issue(&self, identity: Identity, now: Instant) -> Result<String, Error> {
        let refuse = |code, why: &str| Error::new(code, why).retry_after(LIFETIME.as_secs_f64());
        let mut bytes = [0; 24];
        if getrandom::fill(&mut bytes).is_err() {
            return Err(refuse(Code::Unavailable, "No ticket can be given at present."));
        }
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut waiting = self.waiting();
        waiting.forget_old(now);
        let user = identity.principal().user_json();
        let most = if user.is_some() { MOST_OF_USER } else { MOST_OF_NOBODY };
        if waiting.counts.get(&user).is_some_and(|count| *count >= most) {
            return Err(refuse(Code::Throttled, "Too many tickets wait to be used."));
        }
        if waiting.tickets.len() >= MOST {
            return Err(refuse(Code::Unavailable, "No ticket can be given at present."));
        }
        waiting.add(user, Ticket { text: text.clone(), identity, until: now + LIFETIME });
        Ok(text)
    }

    /// Whose ticket it is, if it is good; afterwards it is not.
    pub(crate) fn redeem(&self, ticket: &str, now: Instant) -> Option<Identity> {
        let mut waiting = self.waiting();
        let number = *waiting.numbers.get(ticket)?;
        let ticket = waiting.remove(number)?;
        (ticket.until > now).then_some(ticket.identity)
    }

    /// Makes the tickets of somebody who may no longer come in worthless.
    pub(crate) fn revoke(&self, whose: impl Fn(&Identity) -> bool) {
        let mut waiting = self.waiting();
        let theirs = waiting.tickets.iter().filter(|(_, ticket)| whose(&ticket.identity));
        let numbers: Vec<u64> = theirs.map(|(number, _)| *number).collect();
        for number in numbers {
            waiting.remove(number);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn add(&mut self, user: Option<String>, ticket: Ticket) {
        let number = self.next;
        self.next += 1;
        self.numbers.insert(ticket.text.clone(), number);
        self.tickets.insert(number, ticket);
        *self.counts.entry(user).or_default() += 1;
    }

    fn remove(&mut self, number: u64) -> Option<Ticket> {
        let ticket = self.tickets.remove(&number)?;
        self.numbers.remove(&ticket.text);
        let user = ticket.identity.principal().user_json();
        if let Some(count) = self.counts.get_mut(&user) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&user);
            }
        }
        Some(ticket)
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some((number, ticket)) = self.tickets.first_key_value()
            && ticket.until <= now
        {
            self.remove(*number);
        }
    }
}

#[cfg(test)]
mod tests {
    use realtime_core::Principal;

    use super::*;

    #[test]
    fn a_ticket_opens_one_socket_soon() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let issue =
            |session: &str| tickets.issue(Identity::anonymous().in_session(session), now).expect("a ticket");
        let (first, late, revoked) = (issue("a"), issue("b"), issue("c"));
        assert_ne!(first, late);
        assert_eq!(tickets.redeem(&first, now).expect("good").session(), Some("a"));
        assert!(tickets.redeem(&first, now).is_none(), "it was used");
        assert!(tickets.redeem(&late, now + LIFETIME).is_none(), "it is too late");
        tickets.revoke(|identity| identity.session() == Some("c"));
        assert!(tickets.redeem(&revoked, now).is_none(), "it was revoked");
        assert!(tickets.redeem("", now).is_none());
        assert!(tickets.waiting().counts.is_empty(), "who has none is forgotten");
    }

    /// The status where one more is refused, after as many as may be.
    #[track_caller]
    fn fill(tickets: &Tickets, of: impl Fn(usize) -> Identity, most: usize, now: Instant) -> u16 {
        for number in 1..=most {
            tickets.issue(of(number), now).unwrap_or_else(|error| panic!("{number} of {most}: {error:?}"));
        }
        let refused = tickets.issue(of(most + 1), now).expect_err("it is one too many");
        assert_eq!(refused.retry_after_seconds(), Some(30.0));
        refused.status()
    }

    #[test]
    fn nobody_takes_the_tickets_of_others() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let of_user = |number: usize| Identity::of(Principal::user(i64::try_from(number).expect("a number")));
        assert_eq!(fill(&tickets, |_| of_user(0), MOST_OF_USER, now), 429);
        assert_eq!(fill(&tickets, |_| Identity::anonymous(), MOST_OF_NOBODY, now), 429);
        let left = MOST - MOST_OF_USER - MOST_OF_NOBODY;
        assert_eq!(fill(&tickets, of_user, left, now), 503);
        // One that is used, or is over, makes room.
        let one = tickets.waiting().tickets.values().next().expect("one").text.clone();
        tickets.redeem(&one, now).expect("it is good");
        tickets.issue(of_user(0), now).expect("there is room for it");
        tickets.issue(of_user(0), now).expect_err("and for no other one");
        assert_eq!(fill(&tickets, |_| of_user(0), MOST_OF_USER, now + LIFETIME), 429);
        assert_eq!(tickets.waiting().tickets.len(), MOST_OF_USER);
    }
}
