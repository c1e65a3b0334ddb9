//! Groups that ask what a text contains: Aho-Corasick automata over the needles.
//!
//! An automaton cannot be added to. New needles wait in a short list that is searched one by one; when it is full they
//! go into an automaton, together with the automata that are not much larger. Sizes grow geometrically, so that a text
//! is read a few times and a needle is built in a few times, however many there are.

use std::collections::HashMap;
use std::sync::Arc;

use aho_corasick::AhoCorasick;

use super::posting::{Posting, Slot};

/// How many needles wait at most.
const WAITING: usize = 16;

/// How much larger the automata of a level are than those of the one before.
const GROWTH: usize = 4;

#[derive(Debug)]
struct Needle {
    text: Arc<str>,
    groups: Posting,
    /// The last query that found it: a text may contain it many times.
    found_by: u64,
}

#[derive(Debug)]
struct Level {
    automaton: AhoCorasick,
    /// The needles, by the automaton's number of each.
    needles: Vec<u32>,
}

#[derive(Debug)]
pub(super) struct Needles {
    /// By number; `None` is free.
    needles: Vec<Option<Needle>>,
    free: Vec<u32>,
    by_text: HashMap<Arc<str>, u32>,
    waiting: Vec<u32>,
    may_wait: usize,
    levels: Vec<Option<Level>>,
    /// How many are in an automaton although nobody asks for them.
    dead: usize,
    queries: u64,
}

impl Default for Needles {
    fn default() -> Self {
        Self {
            needles: Vec::new(),
            free: Vec::new(),
            by_text: HashMap::new(),
            waiting: Vec::new(),
            may_wait: WAITING,
            levels: Vec::new(),
            dead: 0,
            queries: 0,
        }
    }
}

impl Needles {
    pub(super) fn is_empty(&self) -> bool {
        self.by_text.is_empty()
    }

    pub(super) fn insert(&mut self, text: &str, slot: Slot) {
        if let Some(at) = self.by_text.get(text)
            && let Some(needle) = &mut self.needles[*at as usize]
        {
            if needle.groups.is_empty() {
                self.dead -= 1;
            }
            needle.groups.insert(slot);
            return;
        }
        let text: Arc<str> = text.into();
        let needle = Some(Needle { text: Arc::clone(&text), groups: Posting::One(slot), found_by: 0 });
        let at = match self.free.pop() {
            Some(free) => {
                self.needles[free as usize] = needle;
                free
            }
            None => {
                self.needles.push(needle);
                u32::try_from(self.needles.len() - 1).expect("there are no more needles than slots")
            }
        };
        self.by_text.insert(text, at);
        self.waiting.push(at);
        if self.waiting.len() > self.may_wait {
            let mut count = self.waiting.len();
            let mut level = 0;
            loop {
                count +=
                    self.levels.get(level).and_then(Option::as_ref).map_or(0, |level| level.needles.len());
                if count <= capacity(level) {
                    break;
                }
                level += 1;
            }
            self.build(level);
        }
    }

    pub(super) fn remove(&mut self, text: &str, slot: Slot) {
        let Some(at) = self.by_text.get(text).copied() else { return };
        let Some(needle) = &mut self.needles[at as usize] else { return };
        if needle.groups.is_empty() {
            return;
        }
        needle.groups.remove(slot);
        if !needle.groups.is_empty() {
            return;
        }
        if let Some(place) = self.waiting.iter().position(|waiting| *waiting == at) {
            self.waiting.swap_remove(place);
            self.forget(at);
            return;
        }
        self.dead += 1;
        if self.dead * 2 > self.by_text.len() {
            let alive = self.by_text.len() - self.dead;
            let level = (0..).find(|level| alive <= capacity(*level)).unwrap_or_default();
            self.build(level.max(self.levels.len().saturating_sub(1)));
        }
    }

    pub(super) fn probe(&mut self, text: &str, found: &mut Vec<Slot>) {
        self.queries += 1;
        for at in &self.waiting {
            if let Some(needle) = &self.needles[*at as usize]
                && text.contains(&*needle.text)
            {
                needle.groups.append_to(found);
            }
        }
        for level in self.levels.iter().flatten() {
            for occurrence in level.automaton.find_overlapping_iter(text) {
                let at = level.needles[occurrence.pattern()];
                if let Some(needle) = &mut self.needles[at as usize]
                    && needle.found_by != self.queries
                {
                    needle.found_by = self.queries;
                    needle.groups.append_to(found);
                }
            }
        }
    }

    /// Makes one automaton, at a level, of those up to that level and of what waits.
    fn build(&mut self, level: usize) {
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, || None);
        }
        let mut gathered = std::mem::take(&mut self.waiting);
        for smaller in self.levels.iter_mut().take(level + 1) {
            gathered.extend(smaller.take().into_iter().flat_map(|level| level.needles));
        }
        let mut needles = Vec::with_capacity(gathered.len());
        for at in gathered {
            match &self.needles[at as usize] {
                Some(needle) if !needle.groups.is_empty() => needles.push(at),
                _ => {
                    self.dead -= 1;
                    self.forget(at);
                }
            }
        }
        self.may_wait = WAITING;
        if needles.is_empty() {
            return;
        }
        let texts = needles.iter().filter_map(|at| self.needles[*at as usize].as_ref());
        match AhoCorasick::new(texts.map(|needle| needle.text.as_bytes())) {
            Ok(automaton) => self.levels[level] = Some(Level { automaton, needles }),
            // More states than an automaton may have. They are searched one by one, and seldom tried again.
            Err(_) => {
                self.may_wait = needles.len() * 2;
                self.waiting = needles;
            }
        }
    }

    fn forget(&mut self, at: u32) {
        if let Some(needle) = self.needles[at as usize].take() {
            self.by_text.remove(&needle.text);
            self.free.push(at);
        }
    }
}

fn capacity(level: usize) -> usize {
    (0..level).fold(WAITING * GROWTH, |capacity, _| capacity.saturating_mul(GROWTH))
}
