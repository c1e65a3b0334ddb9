//! How often something may be tried.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The number of allowances: 16 bytes each, whatever is tried.
const SLOTS: usize = 1 << 16;

/// Allowances by key, of so many attempts at once and then one per interval.
///
/// Their number is fixed, so that nobody can make it grow: a key has the allowance that its hash chooses. Two keys
/// rarely share one, and since the hash is a secret of the process nobody can look for a key that does.
pub(crate) struct Throttle {
    burst: u32,
    interval: Duration,
    began: Instant,
    hashes: RandomState,
    /// When each allowance will be whole again, since it began.
    whole_at: Mutex<Box<[Duration]>>,
}

impl Throttle {
    pub(crate) fn new(burst: u32, interval: Duration, now: Instant) -> Self {
        let whole_at = Mutex::new(vec![Duration::ZERO; SLOTS].into_boxed_slice());
        Self { burst, interval, began: now, hashes: RandomState::new(), whole_at }
    }

    fn with<T>(&self, key: &impl Hash, look: impl FnOnce(&mut Duration) -> T) -> T {
        let slot = self.hashes.hash_one(key) % SLOTS as u64;
        let mut whole_at = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        look(&mut whole_at[usize::try_from(slot).unwrap_or_default()])
    }

    /// Takes an attempt from an allowance, or says how long there is none.
    pub(crate) fn take(&self, key: &impl Hash, now: Instant) -> Result<(), Duration> {
        let now = now.saturating_duration_since(self.began);
        self.with(key, |whole_at| {
            let then = now.max(*whole_at) + self.interval;
            match (then - now).checked_sub(self.interval * self.burst) {
                Some(wait) if !wait.is_zero() => Err(wait),
                _ => {
                    *whole_at = then;
                    Ok(())
                }
            }
        })
    }

    /// Gives an attempt back: it was a good one.
    pub(crate) fn give_back(&self, key: &impl Hash) {
        self.with(key, |whole_at| *whole_at = whole_at.saturating_sub(self.interval));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn so_many_at_once_then_one_per_interval() {
        let start = Instant::now();
        let throttle = Throttle::new(3, 10 * SECOND, start);
        for _ in 0..3 {
            assert_eq!(throttle.take(&"ann", start), Ok(()));
        }
        assert_eq!(throttle.take(&"ann", start), Err(10 * SECOND));
        assert_eq!(throttle.take(&"bob", start), Ok(()), "another has his own");
        assert_eq!(
            throttle.take(&"ann", start + 4 * SECOND),
            Err(6 * SECOND),
            "refused attempts cost nothing"
        );
        assert_eq!(throttle.take(&"ann", start + 10 * SECOND), Ok(()));
        assert_eq!(throttle.take(&"ann", start + 10 * SECOND), Err(10 * SECOND));
        let later = start + 1000 * SECOND;
        for _ in 0..3 {
            assert_eq!(throttle.take(&"ann", later), Ok(()), "whole again, and not more");
        }
        assert!(throttle.take(&"ann", later).is_err());
    }

    #[test]
    fn good_attempts_are_given_back() {
        let start = Instant::now();
        let throttle = Throttle::new(1, SECOND, start);
        for _ in 0..100 {
            assert_eq!(throttle.take(&"ann", start), Ok(()));
            throttle.give_back(&"ann");
        }
        throttle.give_back(&"ann");
        assert_eq!(throttle.take(&"ann", start), Ok(()));
        assert!(throttle.take(&"ann", start).is_err(), "nobody can save up");
    }
}
