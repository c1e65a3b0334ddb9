//! How often somebody may do something with a resource: `throttle(create = "10/minute")`.

use std::collections::HashMap;
use std::time::Duration;

use crate::change::ResourceId;
use crate::context::Principal;
use crate::error::{Code, Error};
use crate::resource::{Action, Descriptor};

/// Principals that are kept apart, at most. Those beyond share one allowance.
const MOST: usize = 100_000;

/// So many times in so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many times at once, at most.
    pub times: u32,
    /// In how many seconds that many more are allowed.
    pub seconds: u32,
}

/// Who has done what how often lately.
///
/// Each allowance fills steadily: after 10 of `10/minute` there is another one every six seconds.
#[derive(Debug, Default)]
pub struct Throttle {
    /// When the allowance will be full again, by whose it is.
    full_at: HashMap<(ResourceId, Action, Option<String>), Duration>,
}

impl Throttle {
    /// Counts an action of somebody; `now` is any clock that does not go back. Whoever is not logged in shares an
    /// allowance with everybody else who is not.
    ///
    /// # Errors
    /// 429 with the time to wait, where the allowance is used up.
    pub fn count(
        &mut self,
        resource: ResourceId,
        descriptor: &Descriptor,
        action: Action,
        principal: &Principal,
        now: Duration,
    ) -> Result<(), Error> {
        let Some(rate) = descriptor.rate(action) else { return Ok(()) };
        let period = Duration::from_secs(rate.seconds.into());
        let each = period / rate.times.max(1);
        let mut whose = (resource, action, principal.name());
        if self.full_at.len() >= MOST && !self.full_at.contains_key(&whose) {
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= MOST {
                whose.2 = None;
            }
        }
        let full_at = self.full_at.entry(whose).or_default();
        let then = (*full_at).max(now) + each;
        if then > now + period {
            let wait = then - now - period;
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let unit = if seconds == 1 { "second" } else { "seconds" };
            let detail = format!("Request was throttled. Expected available in {seconds} {unit}.");
            return Err(Error::new(Code::Throttled, detail).retry_after(wait.as_secs_f64()));
        }
        *full_at = then;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::ActionSet;

    static DESCRIPTOR: Descriptor = Descriptor {
        stream: "rows",
        table: "rows",
        fields: &[],
        key: 0,
        lookup: 0,
        custom: &[],
        throttle: &[(Action::Create, Rate { times: 3, seconds: 60 })],
        aliases: &[],
        group_by: &[],
        lists: crate::resource::Lists::PLAIN,
        bases: &[],
        actions: ActionSet::ALL,
        rules: crate::policy::Rules::OF_EVERYBODY,
        checks: &[],
        zone: None,
        description: "",
    };

    #[test]
    fn an_allowance_is_used_up_and_fills_again_steadily() {
        let mut throttle = Throttle::default();
        let (ann, bob) = (Principal::user(1), Principal::user(2));
        let mut wait = |seconds: u64, who: &Principal, action| {
            let now = Duration::from_secs(seconds);
            let counted = throttle.count(ResourceId(0), &DESCRIPTOR, action, who, now);
            counted.err().and_then(|error| error.retry_after_seconds())
        };
        for _ in 0..3 {
            assert_eq!(wait(5, &ann, Action::Create), None);
        }
        assert_eq!(wait(5, &ann, Action::Create), Some(20.0));
        assert_eq!(wait(24, &ann, Action::Create), Some(1.0));
        assert_eq!(wait(25, &ann, Action::Create), None);
        assert_eq!(wait(25, &ann, Action::Create), Some(20.0));
        assert_eq!(wait(25, &bob, Action::Create), None);
        assert_eq!(wait(25, &Principal::anonymous(), Action::Create), None);
        for _ in 0..9 {
            assert_eq!(wait(25, &ann, Action::Delete), None);
        }
        for _ in 0..3 {
            assert_eq!(wait(1_000, &ann, Action::Create), None, "no more than it holds");
        }
        assert_eq!(wait(1_000, &ann, Action::Create), Some(20.0));
    }

    #[test]
    fn whoever_is_beyond_the_bound_shares_an_allowance() {
        let mut throttle = Throttle::default();
        let mut count = |user: i64, seconds: u64| {
            let (who, now) = (Principal::user(user), Duration::from_secs(seconds));
            throttle.count(ResourceId(0), &DESCRIPTOR, Action::Create, &who, now).is_ok()
        };
        let most = i64::try_from(MOST).expect("a number");
        assert!((0..most).all(|user| count(user, 0)));
        assert_eq!(
            (0..5).map(|user| count(most + user, 0)).collect::<Vec<_>>(),
            [true, true, true, false, false]
        );
        // What is full again makes room.
        assert!((0..5).all(|user| count(most + user, 30)));
        assert!(throttle.full_at.len() <= MOST + 1);
    }
}
