//! Groups that ask for an interval: a B+-tree (Comer, "The Ubiquitous B-Tree", 1979) by lower ends, in which every
//! subtree knows its furthest upper end, as in an interval tree (Cormen et al., "Introduction to Algorithms", 3rd
//! edition, 14.3). A node has many entries and not one or two, because what a query waits for is memory: a million
//! intervals are five nodes deep.

use super::pieces::Pieces;
use super::posting::Slot;

/// Closed intervals, a multiset. Insertion and removal take logarithmic time, but its square where many lower ends are
/// the same; a query takes logarithmic time for each interval that it finds, and for one more.
#[derive(Debug)]
pub(super) struct Intervals<const FAN: usize = 16> {
    nodes: Pieces<Node<FAN>>,
    free: Vec<u32>,
    /// Of no meaning where there are no intervals.
    root: u32,
    /// How many levels of nodes are below the root.
    height: u32,
    /// The least lower end and the greatest upper end; the other way round where there are no intervals.
    bounds: (u128, u128),
    /// The nodes still to be visited, and their heights: empty between queries, kept for its allocation.
    open: Vec<(u32, u32)>,
}

/// Up to so many entries, by their first intervals: in a leaf (of height 0) intervals, above it nodes. An array for
/// each part, so that a query does not read what it does not compare. 36 bytes for each entry; but for the root and
/// the last node of each height half of them are taken at least, and nearly all where intervals come in order.
#[derive(Debug)]
struct Node<const FAN: usize> {
    /// The lower end of the interval, or the least below.
    lowers: [u128; FAN],
    /// The upper end of the interval, or the greatest below.
    furthest: [u128; FAN],
    /// The group that asks for the interval, or the node.
    below: [u32; FAN],
    /// How many entries there are.
    len: usize,
}

/// Of a leaf: what intervals are ordered by.
type Entry = (u128, u128, u32);

const NOTHING: (u128, u128) = (u128::MAX, 0);

impl<const FAN: usize> Default for Intervals<FAN> {
    fn default() -> Self {
        Self {
            nodes: Pieces::default(),
            free: Vec::new(),
            root: 0,
            height: 0,
            bounds: NOTHING,
            open: Vec::new(),
        }
    }
}

impl<const FAN: usize> Node<FAN> {
    const EMPTY: Self = Self { lowers: [0; FAN], furthest: [0; FAN], below: [0; FAN], len: 0 };

    fn entry(&self, at: usize) -> Entry {
        (self.lowers[at], self.furthest[at], self.below[at])
    }

    fn bounds(&self) -> (u128, u128) {
        let furthest = self.furthest[..self.len].iter().copied().max();
        furthest.map_or(NOTHING, |furthest| (self.lowers[0], furthest))
    }

    fn insert(&mut self, at: usize, (lower, furthest, below): Entry) {
        self.lowers.copy_within(at..self.len, at + 1);
        self.furthest.copy_within(at..self.len, at + 1);
        self.below.copy_within(at..self.len, at + 1);
        self.len += 1;
        (self.lowers[at], self.furthest[at], self.below[at]) = (lower, furthest, below);
    }

    fn remove(&mut self, at: usize) {
        self.lowers.copy_within(at + 1..self.len, at);
        self.furthest.copy_within(at + 1..self.len, at);
        self.below.copy_within(at + 1..self.len, at);
        self.len -= 1;
    }

    /// The entries from one on, taken out.
    fn split_off(&mut self, at: usize) -> Self {
        let mut rest = Self::EMPTY;
        for at in at..self.len {
            rest.insert(rest.len, self.entry(at));
        }
        self.len = at;
        rest
    }

    fn append(&mut self, rest: &Self) {
        for at in 0..rest.len {
            self.insert(self.len, rest.entry(at));
        }
    }
}

impl<const FAN: usize> Intervals<FAN> {
    pub(super) fn is_empty(&self) -> bool {
        self.bounds == NOTHING
    }

    pub(super) fn insert(&mut self, lower: u128, upper: u128, slot: Slot) {
        if self.is_empty() {
            self.root = self.add(Node::EMPTY);
        }
        if let Some(right) = self.insert_below(self.root, self.height, true, (lower, upper, slot)) {
            let mut root = Node::EMPTY;
            for (at, below) in [self.root, right].into_iter().enumerate() {
                root.insert(at, self.summary(below));
            }
            self.root = self.add(root);
            self.height += 1;
        }
        self.bounds = self.nodes[self.root as usize].bounds();
    }

    pub(super) fn remove(&mut self, lower: u128, upper: u128, slot: Slot) {
        if self.is_empty() || !self.remove_below(self.root, self.height, (lower, upper, slot)) {
            return;
        }
        while self.height > 0 && self.nodes[self.root as usize].len == 1 {
            self.free.push(self.root);
            self.root = self.nodes[self.root as usize].below[0];
            self.height -= 1;
        }
        self.bounds = self.nodes[self.root as usize].bounds();
        if self.is_empty() {
            self.free.push(self.root);
        }
    }

    /// Finds the intervals with a point in them.
    pub(super) fn probe(&mut self, point: u128, found: &mut Vec<Slot>) {
        if point < self.bounds.0 || point > self.bounds.1 {
            return;
        }
        self.open.push((self.root, self.height));
        while let Some((at, height)) = self.open.pop() {
            let node = &self.nodes[at as usize];
            let bounds = node.lowers[..node.len].iter().zip(&node.furthest[..node.len]);
            for ((lower, furthest), below) in bounds.zip(&node.below[..node.len]) {
                // Not `&&`: which of them holds cannot be predicted, whether both do mostly can.
                if (*lower <= point) & (*furthest >= point) {
                    match height {
                        0 => found.push(*below),
                        _ => self.open.push((*below, height - 1)),
                    }
                }
            }
        }
    }

    fn add(&mut self, node: Node<FAN>) -> u32 {
        if let Some(free) = self.free.pop() {
            self.nodes[free as usize] = node;
            return free;
        }
        self.nodes.push(node);
        u32::try_from(self.nodes.len() - 1).expect("there are no more nodes than slots")
    }

    /// What the node above has of a node.
    fn summary(&self, at: u32) -> Entry {
        let (lower, furthest) = self.nodes[at as usize].bounds();
        (lower, furthest, at)
    }

    fn first(&self, mut at: u32, height: u32) -> Entry {
        for _ in 0..height {
            at = self.nodes[at as usize].below[0];
        }
        self.nodes[at as usize].entry(0)
    }

    /// How many entries of a node begin with the interval or one before it. Above the leaves only lower ends are at
    /// hand: where these are the same, the intervals are looked for in the leaves.
    fn up_to(&self, at: u32, height: u32, entry: Entry) -> usize {
        let node = &self.nodes[at as usize];
        let least = node.lowers[..node.len].partition_point(|lower| *lower < entry.0);
        let most = least + node.lowers[least..node.len].partition_point(|lower| *lower == entry.0);
        let (mut least, mut most) = (least, most);
        while least < most {
            let middle = usize::midpoint(least, most);
            let first = match height {
                0 => node.entry(middle),
                _ => self.first(node.below[middle], height - 1),
            };
            if first <= entry {
                least = middle + 1;
            } else {
                most = middle;
            }
        }
        least
    }

    /// Returns the node that has come after this one, if there was no room. `is_last`: no node of this height is after
    /// it.
    fn insert_below(&mut self, at: u32, height: u32, is_last: bool, entry: Entry) -> Option<u32> {
        let place = self.up_to(at, height, entry);
        if height == 0 {
            return self.put(at, place, is_last, entry);
        }
        let place = place.saturating_sub(1);
        let node = &self.nodes[at as usize];
        let (below, is_last_below) = (node.below[place], is_last && place + 1 == node.len);
        let new = self.insert_below(below, height - 1, is_last_below, entry);
        self.update(at, place);
        self.put(at, place + 1, is_last, self.summary(new?))
    }

    fn put(&mut self, at: u32, place: usize, is_last: bool, entry: Entry) -> Option<u32> {
        let node = &mut self.nodes[at as usize];
        if node.len < FAN {
            node.insert(place, entry);
            return None;
        }
        // Where intervals come in order, nothing would ever come into the second half of a node.
        let kept = if is_last && place == FAN { FAN } else { FAN / 2 };
        let mut right = node.split_off(kept);
        if place <= kept && kept < FAN {
            node.insert(place, entry);
        } else {
            right.insert(place - kept, entry);
        }
        Some(self.add(right))
    }

    /// True if it was there.
    fn remove_below(&mut self, at: u32, height: u32, entry: Entry) -> bool {
        let Some(place) = self.up_to(at, height, entry).checked_sub(1) else { return false };
        let node = &mut self.nodes[at as usize];
        if height == 0 {
            let is_there = node.entry(place) == entry;
            if is_there {
                node.remove(place);
            }
            return is_there;
        }
        let below = node.below[place];
        let was_there = self.remove_below(below, height - 1, entry);
        if was_there {
            self.fill(at, place);
        }
        was_there
    }

    /// Brings a node from which something was removed together with one beside it, if it is less than half full.
    fn fill(&mut self, at: u32, place: usize) {
        let node = &self.nodes[at as usize];
        let (below, is_only) = (node.below[place], node.len == 1);
        let held = self.nodes[below as usize].len;
        if held == 0 && is_only {
            self.free.push(below);
            self.nodes[at as usize].len = 0;
        } else if held >= FAN / 2 || is_only {
            self.update(at, place);
        } else {
            self.even_out(at, place.saturating_sub(1));
        }
    }

    /// Makes one node of two beside each other, or two that are equally full.
    fn even_out(&mut self, at: u32, place: usize) {
        let node = &self.nodes[at as usize];
        let (left, right) = (node.below[place], node.below[place + 1]);
        let mut rest = std::mem::replace(&mut self.nodes[right as usize], Node::EMPTY);
        let node = &mut self.nodes[left as usize];
        let half = (node.len + rest.len) / 2;
        if node.len + rest.len <= FAN {
            node.append(&rest);
            self.free.push(right);
            self.nodes[at as usize].remove(place + 1);
        } else {
            let mut moved = node.split_off(half.min(node.len));
            let after = rest.split_off(half - node.len);
            node.append(&rest);
            moved.append(&after);
            self.nodes[right as usize] = moved;
            self.update(at, place + 1);
        }
        self.update(at, place);
    }

    /// Notes anew what is below an entry.
    fn update(&mut self, at: u32, place: usize) {
        let below = self.nodes[at as usize].below[place];
        let (lower, furthest) = self.nodes[below as usize].bounds();
        let node = &mut self.nodes[at as usize];
        (node.lowers[place], node.furthest[place]) = (lower, furthest);
    }
}

#[cfg(test)]
mod tests {
    use super::super::posting::Mixed;
    use super::*;

    /// Numbers that look random.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: u32) -> u32 {
            self.0 = Mixed::spread(self.0 + 1);
            u32::try_from((self.0 >> 20) % u64::from(limit)).expect("a remainder")
        }
    }

    /// Goes through the nodes and returns the intervals, in order.
    fn checked<const FAN: usize>(intervals: &Intervals<FAN>) -> Vec<Entry> {
        let mut level = if intervals.is_empty() { Vec::new() } else { vec![intervals.root] };
        let mut seen = intervals.free.clone();
        for height in (0..=intervals.height).rev() {
            seen.extend(&level);
            let nodes: Vec<&Node<FAN>> = level.iter().map(|at| &intervals.nodes[*at as usize]).collect();
            let is_root = height == intervals.height;
            for (at, node) in nodes.iter().enumerate() {
                let least = match (is_root, height) {
                    (true, 1..) => 2,
                    (false, _) if at + 1 < nodes.len() => FAN / 2,
                    _ => 1,
                };
                assert!((least..=FAN).contains(&node.len), "{} entries at height {height}", node.len);
            }
            let entries: Vec<Entry> =
                nodes.iter().flat_map(|node| (0..node.len).map(|at| node.entry(at))).collect();
            assert!(entries.is_sorted_by_key(|(lower, ..)| *lower));
            if height == 0 {
                // Every node is in the tree or free, once.
                seen.sort_unstable();
                assert!(seen.iter().map(|at| *at as usize).eq(0..intervals.nodes.len()), "{seen:?}");
                assert!(entries.is_sorted());
                return entries;
            }
            for (lower, furthest, below) in &entries {
                assert_eq!((*lower, *furthest), intervals.nodes[*below as usize].bounds());
            }
            level = entries.into_iter().map(|(.., below)| below).collect();
        }
        Vec::new()
    }

    fn found<const FAN: usize>(intervals: &mut Intervals<FAN>, point: u128) -> Vec<Slot> {
        let mut found = Vec::new();
        intervals.probe(point, &mut found);
        assert!(intervals.open.is_empty());
        found.sort_unstable();
        found
    }

    fn hold_what_came<const FAN: usize>(seed: u64) {
        let mut intervals = Intervals::<FAN>::default();
        let mut expected: Vec<Entry> = Vec::new();
        let mut random = Random(seed);
        for step in 0..1_600 {
            // Grows, shrinks, and grows again into what is free.
            let grows = step / 400 != 2;
            if expected.is_empty() || random.below(10) < if grows { 8 } else { 1 } {
                let lower = match random.below(10) {
                    0 => 0,
                    1..4 => 150,
                    _ => u128::from(random.below(300)),
                };
                let upper = match random.below(10) {
                    0 => u128::MAX,
                    _ => lower + u128::from(random.below(40)),
                };
                // Some have an interval twice, some are there twice.
                let entry = match random.below(20) {
                    0 if !expected.is_empty() => expected[step % expected.len()],
                    _ => (lower, upper, random.below(1_000)),
                };
                intervals.insert(entry.0, entry.1, entry.2);
                expected.push(entry);
            } else {
                let at = random.below(u32::try_from(expected.len()).expect("few"));
                let (lower, upper, slot) = expected.swap_remove(at as usize);
                intervals.remove(lower, upper, slot);
                intervals.remove(lower, upper, 1_000);
                intervals.remove(lower, u128::MAX - 1, slot);
            }
            for point in [0, 150, u128::from(random.below(350)), u128::MAX] {
                let holding = expected.iter().filter(|(lower, upper, _)| (*lower..=*upper).contains(&point));
                let mut holding: Vec<Slot> = holding.map(|(.., slot)| *slot).collect();
                holding.sort_unstable();
                assert_eq!(found(&mut intervals, point), holding);
            }
            if step % 50 == 0 {
                let mut sorted = expected.clone();
                sorted.sort_unstable();
                assert_eq!(checked(&intervals), sorted);
            }
        }
        assert!(intervals.height >= if FAN < 16 { 4 } else { 2 }, "{}", intervals.height);
        for (at, (lower, upper, slot)) in expected.iter().enumerate() {
            assert_eq!(checked(&intervals).len(), expected.len() - at);
            intervals.remove(*lower, *upper, *slot);
        }
        assert!(intervals.is_empty() && checked(&intervals).is_empty());
        intervals.remove(0, 0, 0);
        assert!(found(&mut intervals, 0).is_empty() && found(&mut intervals, u128::MAX).is_empty());
    }

    #[test]
    fn a_point_finds_what_asking_every_interval_finds() {
        hold_what_came::<4>(1);
        hold_what_came::<5>(2);
        hold_what_came::<16>(3);
    }

    #[test]
    fn intervals_that_come_and_go_in_order_take_no_more_than_they_need() {
        let mut intervals = Intervals::<16>::default();
        let all = 0..10_000_u32;
        for slot in all.clone() {
            intervals.insert(slot.into(), slot.into(), slot);
        }
        assert_eq!(checked(&intervals).len(), all.len());
        assert!(intervals.nodes.len() < 700, "{} nodes", intervals.nodes.len());
        for slot in all.clone() {
            assert_eq!(found(&mut intervals, slot.into()), [slot]);
            intervals.remove(slot.into(), slot.into(), slot);
            intervals.insert(u128::from(slot) + 10_000, u128::from(slot) + 10_000, slot);
        }
        assert_eq!(checked(&intervals).len(), all.len());
        assert!(intervals.nodes.len() < 800, "{} nodes", intervals.nodes.len());
        for slot in all.rev() {
            intervals.remove(u128::from(slot) + 10_000, u128::from(slot) + 10_000, slot);
            if slot % 100 == 0 {
                checked(&intervals);
            }
        }
        assert!(intervals.is_empty());
    }
}
