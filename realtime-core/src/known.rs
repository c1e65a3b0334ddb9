//! Equal subscriptions are kept once, however many connections hold them.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::subscription::Subscription;

/// The subscriptions that somebody holds. A group's members ask for the same in the same words, and what says that takes
/// a kilobyte: it is a part of what a connection costs that need not be there once for each.
#[derive(Debug, Default)]
pub struct Known {
    hashes: RandomState,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// By the hash of what tells groups apart. Of two with one hash the first is kept and the other is nobody else's.
    by_hash: HashMap<u64, Weak<Subscription>>,
    /// The number at which those are forgotten that nobody holds any more.
    sweep_at: usize,
}

/// Fewer are not looked through.
const FEW: usize = 64;

impl Known {
    /// The same subscription, as whoever was first asked for it.
    #[must_use]
    pub fn share(&self, subscription: Arc<Subscription>) -> Arc<Subscription> {
        let hash = self.hashes.hash_one(subscription.group_identity());
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let held = &mut *held;
        if let Some(known) = held.by_hash.get(&hash).and_then(Weak::upgrade) {
            let is_same = known.group_identity() == subscription.group_identity()
                && known.identity() == subscription.identity();
            return if is_same { known } else { subscription };
        }
        held.by_hash.insert(hash, Arc::downgrade(&subscription));
        if held.by_hash.len() > held.sweep_at {
            held.by_hash.retain(|_, known| known.strong_count() > 0);
            held.sweep_at = FEW.max(2 * held.by_hash.len());
            held.by_hash.shrink_to(held.sweep_at);
        }
        subscription
    }

    /// The number that is kept, some of which may be nobody's any more.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).by_hash.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::ResourceId;
    use crate::field::Kind;
    use crate::filter::{Condition, Filter, Predicate};
    use crate::lookup::LookupSet;
    use crate::resource::{ActionSet, Descriptor, FieldDescriptor};
    use crate::subscription::{EventActions, Form};
    use crate::value::Value;

    const KEY: Kind = Kind::Integer { min: i64::MIN, max: i64::MAX };

    static DESCRIPTOR: Descriptor = Descriptor {
        stream: "rows",
        table: "rows",
        fields: &[FieldDescriptor {
            name: "id",
            column: "id",
            kind: KEY,
            nullable: false,
            read_only: true,
            write_only: false,
            required: false,
            default: None,
            example: None,
            checks: &[],
            message: None,
            computed: None,
            lookups: LookupSet::of_kind(KEY),
            orderable: false,
            description: "",
        }],
        key: 0,
        lookup: 0,
        custom: &[],
        throttle: &[],
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

    fn to(key: i64) -> Arc<Subscription> {
        let predicate = Predicate::of(0, Condition::OneOf(vec![Value::Int(key)]));
        let filter = Filter::new(&DESCRIPTOR, vec![predicate]);
        let (form, actions) = (Form::default(), EventActions::default());
        Arc::new(Subscription::new(ResourceId(0), &DESCRIPTOR, filter, None, form, actions))
    }

    #[test]
    fn those_who_ask_for_the_same_hold_the_same() {
        let known = Known::default();
        let (first, other) = (known.share(to(1)), known.share(to(2)));
        assert!(Arc::ptr_eq(&first, &known.share(to(1))) && Arc::ptr_eq(&other, &known.share(to(2))));
        assert!(!Arc::ptr_eq(&first, &other));
        drop((first, other));
        let again = known.share(to(1));
        assert!(Arc::ptr_eq(&again, &known.share(to(1))));
    }

    #[test]
    fn what_nobody_holds_is_forgotten() {
        let known = Known::default();
        let kept: Vec<_> = (0..100).map(|key| known.share(to(key))).collect();
        for key in 1_000..20_000 {
            drop(known.share(to(key)));
            assert!(known.len() <= 2 * kept.len() + FEW + 1, "{}", known.len());
        }
        for (key, kept) in (0..).zip(&kept) {
            assert!(Arc::ptr_eq(kept, &known.share(to(key))));
        }
    }
}
