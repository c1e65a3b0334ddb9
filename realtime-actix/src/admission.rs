//! Who is connected, counted: in all and by address, which is looked at before anything else is done, and by user.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use realtime_core::{Code, Error, Limits, Principal};

/// Seconds after which it is worth trying again.
const RETRY_AFTER: f64 = 5.0;

/// The connections of a server: sockets, event streams and polls that wait.
#[derive(Debug)]
pub(crate) struct Admission {
    limit: usize,
    of_user: usize,
    of_address: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    /// By the user's key as JSON.
    users: HashMap<Arc<str>, usize>,
    addresses: HashMap<IpAddr, usize>,
}

/// The place of one connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    admission: Arc<Admission>,
    address: Option<IpAddr>,
    /// As in the counts, and the same allocation.
    user: RefCell<Option<Arc<str>>>,
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            limit: limits.connections,
            of_user: limits.connections_per_user,
            of_address: limits.connections_per_address,
            counts: Mutex::default(),
        }
    }

    /// Admits a connection from an address, if that is known, of nobody in particular.
    ///
    /// # Errors
    /// 503 or 429 where there are too many already.
    pub(crate) fn seat(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Seat, Error> {
        let address = address.map(network);
        let mut counts = self.counts();
        if counts.all >= self.limit {
            tracing::warn!(limit = self.limit, "connections are refused: there are as many as may be");
            return Err(Error::new(Code::Unavailable, "Too many connections (limit connections).")
                .retry_after(RETRY_AFTER));
        }
        if let Some(address) = address
            && count(&mut counts.addresses, address, self.of_address).is_none()
        {
            tracing::warn!(
                %address,
                "connections of one address are refused; if it is that of a proxy, name it with `trust_proxy`"
            );
            return Err(too_many("this address", "connections_per_address"));
        }
        counts.all += 1;
        drop(counts);
        Ok(Seat { admission: Arc::clone(self), address, user: RefCell::default() })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Counting cannot panic half-way.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// The connection is, or goes on as, that of a principal.
    ///
    /// # Errors
    /// 429 where he has as many as he may: it then counts for whom it was.
    pub(crate) fn pass_to(&self, principal: &Principal) -> Result<(), Error> {
        let user = principal.user_json();
        let mut own = self.user.borrow_mut();
        if own.as_deref() == user.as_deref() {
            return Ok(());
        }
        let mut counts = self.admission.counts();
        let counted = user.map(|user| {
            count(&mut counts.users, Arc::from(user), self.admission.of_user)
                .ok_or_else(|| too_many("this user", "connections_per_user"))
        });
        let user = counted.transpose()?;
        if let Some(before) = own.take() {
            uncount(&mut counts.users, before);
        }
        *own = user;
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.admission.counts();
        counts.all -= 1;
        if let Some(address) = self.address {
            uncount(&mut counts.addresses, address);
        }
        if let Some(user) = self.user.borrow_mut().take() {
            uncount(&mut counts.users, user);
        }
    }
}

/// Counts one more and gives what it is counted by. `None` where there are as many as may be.
fn count<K: Clone + Hash + Eq>(counts: &mut HashMap<K, usize>, key: K, limit: usize) -> Option<K> {
    match counts.entry(key) {
        Entry::Occupied(mut count) if *count.get() < limit => {
            *count.get_mut() += 1;
            Some(count.key().clone())
        }
        Entry::Vacant(count) if limit > 0 => {
            let key = count.key().clone();
            count.insert(1);
            Some(key)
        }
        _ => None,
    }
}

fn uncount<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: K) {
    if let Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            // Else every address that ever came would stay.
            count.remove();
        }
    }
}

fn too_many(whose: &str, limit: &str) -> Error {
    Error::new(Code::Throttled, format!("Too many connections of {whose} (limit {limit})."))
        .retry_after(RETRY_AFTER)
}

/// What counts as one address: of IPv6 the 64 bits that a network is given, since any host in it has all the others.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections: usize, per_user: usize, per_address: usize) -> Arc<Admission> {
        let mut limits = Limits::default();
        limits.connections = connections;
        limits.connections_per_user = per_user;
        limits.connections_per_address = per_address;
        Arc::new(Admission::new(&limits))
    }

    fn from(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    /// The status of a refusal, and the limit that it names.
    #[track_caller]
    fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> (u16, String) {
        let error = result.expect_err("it is over a limit");
        let text = error.to_string();
        let (_, limit) = text.rsplit_once("(limit ").expect("the limit's name");
        (error.status(), limit.trim_end_matches([')', '.']).to_owned())
    }

    fn of(admission: &Arc<Admission>, address: &str, user: &Principal) -> Result<Seat, Error> {
        let seat = admission.seat(from(address))?;
        seat.pass_to(user)?;
        Ok(seat)
    }

    #[test]
    fn each_limit_admits_as_many_as_it_says() {
        let admission = admission(4, 2, 3);
        let seats: Vec<Seat> = (0..3).map(|_| admission.seat(from("10.0.0.1")).expect("a seat")).collect();
        let of_address = refused(admission.seat(from("10.0.0.1")));
        assert_eq!(of_address, (429, "connections_per_address".to_owned()));
        let last = admission.seat(from("10.0.0.2")).expect("another address");
        assert_eq!(refused(admission.seat(from("10.0.0.3"))), (503, "connections".to_owned()));
        drop(last);
        admission.seat(None).expect("one has left");
        drop(seats);
        assert!(admission.counts().addresses.is_empty(), "who has left is forgotten");
        assert_eq!(admission.counts().all, 0);
    }

    #[test]
    fn a_user_has_few_wherever_he_is() {
        let (ann, bob) = (Principal::user(1_i32), Principal::user(2_i64));
        let admission = admission(100, 2, 100);
        let first = of(&admission, "10.0.0.1", &ann).expect("a seat");
        let _second = of(&admission, "10.0.0.2", &Principal::user(1_i64)).expect("a seat");
        assert_eq!(refused(of(&admission, "10.0.0.3", &ann)), (429, "connections_per_user".to_owned()));
        assert_eq!(admission.counts().addresses.len(), 2, "who is refused is not counted");
        let other = of(&admission, "10.0.0.3", &bob).expect("somebody else");
        other.pass_to(&ann).expect_err("she has two");
        drop(first);
        other.pass_to(&ann).expect("one has gone");
        assert_eq!(admission.counts().users, HashMap::from([("1".into(), 2)]));
        other.pass_to(&Principal::anonymous()).expect("nobody has no limit of his own");
        assert_eq!(admission.counts().users, HashMap::from([("1".into(), 1)]));
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let admission = admission(100, 1, 1);
        let _seat = admission.seat(from("2001:db8:0:1::1")).expect("a seat");
        admission.seat(from("2001:db8:0:1:ffff::2")).expect_err("the same network");
        let _other = admission.seat(from("2001:db8:0:2::1")).expect("another network");
        let _mapped = admission.seat(from("::ffff:10.0.0.1")).expect("a seat");
        admission.seat(from("10.0.0.1")).expect_err("the same address");
    }
}
