//! Tickets: what opens one socket, once, soon.
//!
//! A browser cannot set the headers of a handshake, and what stands in a query ends up in logs. So it is good for one
//! socket, for half a minute.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Identity;

/// How long a ticket is good.
const LIFETIME: Duration = Duration::from_secs(30);

/// Tickets that wait to be used, at most.
const MOST: usize = 100_000;

/// The tickets of one program.
#[derive(Debug, Default)]
pub(crate) struct Tickets(Mutex<HashMap<String, (Identity, Instant)>>);

impl Tickets {
    /// A ticket for a socket of somebody; `None` where too many wait, or there is no randomness.
    pub(crate) fn issue(&self, identity: Identity, now: Instant) -> Option<String> {
        let mut bytes = [0; 24];
        getrandom::fill(&mut bytes).ok()?;
        let ticket: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MOST {
            waiting.retain(|_, (_, until)| *until > now);
            if waiting.len() >= MOST {
                return None;
            }
        }
        waiting.insert(ticket.clone(), (identity, now + LIFETIME));
        Some(ticket)
    }

    /// Whose ticket it is, if it is good; afterwards it is not.
    pub(crate) fn redeem(&self, ticket: &str, now: Instant) -> Option<Identity> {
        let (identity, until) = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(ticket)?;
        (until > now).then_some(identity)
    }

    /// Makes the tickets of somebody who may no longer come in worthless.
    pub(crate) fn revoke(&self, whose: impl Fn(&Identity) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, (identity, _)| !whose(identity));
    }
}

#[cfg(test)]
mod tests {
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
    }
}
