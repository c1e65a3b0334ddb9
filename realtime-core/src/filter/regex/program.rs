//! An expression as a program: states, each of which takes a character or leads on without one.

use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

use super::TooLarge;
use super::alphabet::Sets;

/// One state.
pub(super) enum State {
    /// Takes a character of a set, by its number.
    Take { set: usize, next: u32 },
    /// Leads to each of these.
    Split(Vec<u32>),
    /// Leads on where it stands so between two characters.
    Look { look: Look, next: u32 },
    /// The expression has matched.
    Match,
}

/// The states of an expression.
pub(super) struct Program {
    pub(super) states: Vec<State>,
    pub(super) start: u32,
    pub(super) sets: Sets,
    /// The looks of all its states.
    pub(super) looks: Vec<Look>,
    /// What may still be written, counted in states.
    left: usize,
}

impl Program {
    /// The program of an expression, of at most so many states.
    pub(super) fn new(hir: &Hir, most_states: usize) -> Result<Self, TooLarge> {
        let mut program = Self {
            states: Vec::new(),
            start: 0,
            sets: Sets::default(),
            looks: Vec::new(),
            left: most_states,
        };
        let end = program.push(State::Match)?;
        program.start = program.write(hir, end)?;
        Ok(program)
    }

    fn push(&mut self, state: State) -> Result<u32, TooLarge> {
        self.spend()?;
        self.states.push(state);
        u32::try_from(self.states.len() - 1).map_err(|_| TooLarge)
    }

    fn spend(&mut self) -> Result<(), TooLarge> {
        self.left = self.left.checked_sub(1).ok_or(TooLarge)?;
        Ok(())
    }

    fn take(&mut self, ranges: Vec<(u32, u32)>, next: u32) -> Result<u32, TooLarge> {
        let set = self.sets.number(ranges);
        self.push(State::Take { set, next })
    }

    /// Appends what matches the expression and then leads to `next`; the answer is where it begins. Whether a repetition
    /// is greedy does not matter to whether there is a match.
    fn write(&mut self, hir: &Hir, next: u32) -> Result<u32, TooLarge> {
        // Something that writes no state can be repeated as well.
        self.spend()?;
        match hir.kind() {
            HirKind::Empty => Ok(next),
            HirKind::Literal(literal) => {
                // The parser lets nothing through that matches a part of a character.
                let text = std::str::from_utf8(&literal.0).map_err(|_| TooLarge)?;
                text.chars().rev().try_fold(next, |next, character| {
                    self.take(vec![(u32::from(character), u32::from(character))], next)
                })
            }
            HirKind::Class(Class::Unicode(class)) => {
                let ranges = class.iter().map(|range| (u32::from(range.start()), u32::from(range.end())));
                self.take(ranges.collect(), next)
            }
            HirKind::Class(Class::Bytes(class)) => {
                let ranges = class.iter().map(|range| (u32::from(range.start()), u32::from(range.end())));
                self.take(ranges.collect(), next)
            }
            HirKind::Look(look) => {
                if !self.looks.contains(look) {
                    self.looks.push(*look);
                }
                self.push(State::Look { look: *look, next })
            }
            HirKind::Capture(capture) => self.write(&capture.sub, next),
            HirKind::Concat(parts) => parts.iter().rev().try_fold(next, |next, part| self.write(part, next)),
            HirKind::Alternation(parts) => {
                let starts = parts.iter().map(|part| self.write(part, next)).collect::<Result<_, _>>()?;
                self.push(State::Split(starts))
            }
            HirKind::Repetition(repetition) => self.repeat(repetition, next),
        }
    }

    fn repeat(&mut self, repetition: &Repetition, next: u32) -> Result<u32, TooLarge> {
        let Repetition { min, max, sub, .. } = repetition;
        let mut start = next;
        let mut times = *min;
        match max {
            None => {
                let again = self.push(State::Split(Vec::new()))?;
                let once = self.write(sub, again)?;
                self.states[again as usize] = State::Split(vec![once, next]);
                start = if times == 0 { again } else { once };
                times = times.saturating_sub(1);
            }
            Some(max) => {
                for _ in *min..*max {
                    let once = self.write(sub, start)?;
                    start = self.push(State::Split(vec![once, next]))?;
                }
            }
        }
        (0..times).try_fold(start, |start, _| self.write(sub, start))
    }
}
