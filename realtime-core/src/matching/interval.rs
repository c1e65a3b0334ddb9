//! Groups that ask for an interval: a treap by lower ends, in which every subtree knows its furthest upper end.

use super::pieces::Pieces;
use super::posting::Slot;

/// Closed intervals. Insertion and removal take logarithmic time, a query that time for each interval that it finds.
#[derive(Debug)]
pub(super) struct Intervals {
    nodes: Pieces<Node>,
    free: Vec<u32>,
    root: u32,
    /// Where the priorities have come to.
    random: u64,
    /// The subtrees still to be visited: empty between queries, kept for its allocation.
    open: Vec<u32>,
}

#[derive(Debug)]
struct Node {
    lower: u128,
    upper: u128,
    /// The greatest upper end in the subtree.
    furthest: u128,
    slot: Slot,
    priority: u32,
    left: u32,
    right: u32,
}

const NONE: u32 = u32::MAX;

impl Default for Intervals {
    fn default() -> Self {
        // Priorities that a client knew would let it choose the tree's shape.
        let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
        Self { nodes: Pieces::default(), free: Vec::new(), root: NONE, random, open: Vec::new() }
    }
}

impl Intervals {
    pub(super) fn is_empty(&self) -> bool {
        self.root == NONE
    }

    pub(super) fn insert(&mut self, lower: u128, upper: u128, slot: Slot) {
        let priority = self.priority();
        let node = Node { lower, upper, furthest: upper, slot, priority, left: NONE, right: NONE };
        let new = match self.free.pop() {
            Some(free) => {
                self.nodes[free as usize] = node;
                free
            }
            None => {
                self.nodes.push(node);
                u32::try_from(self.nodes.len() - 1).expect("there are no more intervals than slots")
            }
        };
        self.root = self.insert_below(self.root, new);
    }

    pub(super) fn remove(&mut self, lower: u128, upper: u128, slot: Slot) {
        self.root = self.remove_below(self.root, (lower, upper, slot));
    }

    /// Finds the intervals with a point in them.
    pub(super) fn probe(&mut self, point: u128, found: &mut Vec<Slot>) {
        self.open.push(self.root);
        while let Some(at) = self.open.pop() {
            let Some(node) = self.nodes.get(at as usize) else { continue };
            if node.furthest < point {
                continue;
            }
            self.open.push(node.left);
            if node.lower <= point {
                if node.upper >= point {
                    found.push(node.slot);
                }
                self.open.push(node.right);
            }
        }
    }

    /// The next number of SplitMix64, its upper half.
    fn priority(&mut self) -> u32 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from(mixed >> 32).unwrap_or_default()
    }

    fn key(&self, at: u32) -> (u128, u128, Slot) {
        let node = &self.nodes[at as usize];
        (node.lower, node.upper, node.slot)
    }

    fn furthest(&self, at: u32) -> u128 {
        self.nodes.get(at as usize).map_or(0, |node| node.furthest)
    }

    fn update(&mut self, at: u32) {
        let Node { left, right, upper, .. } = self.nodes[at as usize];
        self.nodes[at as usize].furthest = upper.max(self.furthest(left)).max(self.furthest(right));
    }

    fn insert_below(&mut self, at: u32, new: u32) -> u32 {
        if at == NONE {
            return new;
        }
        if self.nodes[new as usize].priority > self.nodes[at as usize].priority {
            let (left, right) = self.split(at, self.key(new));
            self.nodes[new as usize].left = left;
            self.nodes[new as usize].right = right;
            self.update(new);
            return new;
        }
        if self.key(new) < self.key(at) {
            self.nodes[at as usize].left = self.insert_below(self.nodes[at as usize].left, new);
        } else {
            self.nodes[at as usize].right = self.insert_below(self.nodes[at as usize].right, new);
        }
        self.update(at);
        at
    }

    /// The subtree in two: what lies before the key, and the rest.
    fn split(&mut self, at: u32, key: (u128, u128, Slot)) -> (u32, u32) {
        if at == NONE {
            return (NONE, NONE);
        }
        if self.key(at) < key {
            let (left, right) = self.split(self.nodes[at as usize].right, key);
            self.nodes[at as usize].right = left;
            self.update(at);
            (at, right)
        } else {
            let (left, right) = self.split(self.nodes[at as usize].left, key);
            self.nodes[at as usize].left = right;
            self.update(at);
            (left, at)
        }
    }

    fn remove_below(&mut self, at: u32, key: (u128, u128, Slot)) -> u32 {
        if at == NONE {
            return NONE;
        }
        let here = self.key(at);
        let Node { left, right, .. } = self.nodes[at as usize];
        if here == key {
            self.free.push(at);
            return self.merge(left, right);
        }
        if key < here {
            self.nodes[at as usize].left = self.remove_below(left, key);
        } else {
            self.nodes[at as usize].right = self.remove_below(right, key);
        }
        self.update(at);
        at
    }

    fn merge(&mut self, left: u32, right: u32) -> u32 {
        if left == NONE {
            return right;
        }
        if right == NONE {
            return left;
        }
        if self.nodes[left as usize].priority > self.nodes[right as usize].priority {
            self.nodes[left as usize].right = self.merge(self.nodes[left as usize].right, right);
            self.update(left);
            left
        } else {
            self.nodes[right as usize].left = self.merge(left, self.nodes[right as usize].left);
            self.update(right);
            right
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_finds_what_asking_every_interval_finds() {
        let mut intervals = Intervals::default();
        let mut expected: Vec<(u128, u128, Slot)> = Vec::new();
        let mut random = Intervals::default();
        let mut below = |limit: u32| random.priority() % limit;
        for slot in 0..3_000 {
            // Grows, shrinks, and grows again into what is free.
            let grows = slot / 1_000 != 1;
            if expected.is_empty() || below(10) < if grows { 8 } else { 2 } {
                let lower = match below(10) {
                    0 => 0,
                    _ => u128::from(below(300)),
                };
                let upper = match below(10) {
                    0 => u128::MAX,
                    _ => lower + u128::from(below(40)),
                };
                intervals.insert(lower, upper, slot);
                expected.push((lower, upper, slot));
            } else {
                let at = below(u32::try_from(expected.len()).expect("few")) as usize;
                let (lower, upper, slot) = expected.swap_remove(at);
                intervals.remove(lower, upper, slot);
                intervals.remove(lower, upper, slot);
            }
            for point in [0, u128::from(below(350)), u128::MAX] {
                let mut found = Vec::new();
                intervals.probe(point, &mut found);
                found.sort_unstable();
                let holding = expected.iter().filter(|(lower, upper, _)| (*lower..=*upper).contains(&point));
                let mut holding: Vec<Slot> = holding.map(|(.., slot)| *slot).collect();
                holding.sort_unstable();
                assert_eq!(found, holding);
            }
        }
        for (lower, upper, slot) in expected {
            intervals.remove(lower, upper, slot);
        }
        assert!(intervals.is_empty());
        assert_eq!(intervals.free.len(), intervals.nodes.len());
    }
}
