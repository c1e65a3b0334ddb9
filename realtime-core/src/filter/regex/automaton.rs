//! An expression as an automaton that knows, for each of its states and each class of characters, the one state after
//! it: so each character of a text costs the same, whatever the text and whatever the expression.

use std::collections::HashMap;

use regex_syntax::hir::{ClassUnicodeRange, HirKind, Look};

use super::TooLarge;
use super::alphabet::Alphabet;
use super::program::{Program, State};

/// The row of the state from which no match can be reached, and with it the state.
const DEAD: u32 = 0;

/// What is known of a neighbour of a place in the text.
type Side = u8;
const EDGE: Side = 1;
const LINE_FEED: Side = 1 << 1;
const CARRIAGE_RETURN: Side = 1 << 2;
const ASCII_WORD: Side = 1 << 3;
const WORD: Side = 1 << 4;

/// A complete automaton.
#[derive(Clone)]
pub(super) struct Automaton {
    alphabet: Alphabet,
    /// A row for each state, in it a column for each class and one for the end of the text. States are the beginnings of
    /// their rows; the first is [`DEAD`], the second is that in which the expression has matched.
    table: Vec<u32>,
    accept: u32,
    start: u32,
}

impl Automaton {
    /// Does it match somewhere in the text?
    pub(super) fn is_match(&self, text: &str) -> bool {
        let mut state = self.start;
        for character in text.chars() {
            if state <= self.accept {
                return state == self.accept;
            }
            state = self.table[(state + self.alphabet.class(character)) as usize];
        }
        // The last column of the row.
        state == self.accept || self.table[(state + self.accept - 1) as usize] == self.accept
    }

    /// Builds the automaton of a program, of at most so many bytes.
    ///
    /// What has to be done for it is bounded too, so that one that is too large is known to be soon: few are made of so
    /// many states at once that they are refused for that although they would fit.
    pub(super) fn new(mut program: Program, max_bytes: usize) -> Result<Self, TooLarge> {
        let sides = Sides::of(&mut program);
        let (alphabet, members) = program.sets.alphabet();
        let sides = sides.of_classes(alphabet.len(), &members);
        let columns = alphabet.len() + 1;
        let rows = max_bytes.checked_sub(alphabet.bytes()).ok_or(TooLarge)? / (columns * size_of::<u32>());
        let rows = rows.min(u32::MAX as usize / columns);
        let mut builder = Builder {
            members,
            sides,
            columns,
            max_rows: rows,
            work: max_bytes.saturating_mul(WORK_FOR_A_BYTE),
            rows: vec![vec![DEAD; columns], vec![1; columns]],
            known: HashMap::new(),
            waiting: Vec::new(),
            closure: Closure::new(program.states.len()),
            program,
        };
        let start = builder.build()?;
        let rows = builder.without_dead_ends();
        let wide = u32::try_from(columns).map_err(|_| TooLarge)?;
        let table: Vec<u32> = rows.iter().flatten().map(|row| row * wide).collect();
        Ok(Self { alphabet, table, accept: wide, start: start * wide })
    }
}

/// Steps of building for each byte that the automaton may have; a step takes up to ten nanoseconds.
const WORK_FOR_A_BYTE: usize = 4;

/// The sets of characters that looks ask for.
struct Sides(Vec<(usize, Side)>);

impl Sides {
    fn of(program: &mut Program) -> Self {
        let mut sides = Vec::new();
        for look in program.looks.clone() {
            match look {
                Look::Start | Look::End => {}
                Look::StartLF | Look::EndLF => sides.push((vec![(0x0a, 0x0a)], LINE_FEED)),
                Look::StartCRLF | Look::EndCRLF => {
                    sides.push((vec![(0x0a, 0x0a)], LINE_FEED));
                    sides.push((vec![(0x0d, 0x0d)], CARRIAGE_RETURN));
                }
                Look::WordAscii
                | Look::WordAsciiNegate
                | Look::WordStartAscii
                | Look::WordEndAscii
                | Look::WordStartHalfAscii
                | Look::WordEndHalfAscii => {
                    let word = [('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];
                    let ranges = word.map(|(first, last)| (u32::from(first), u32::from(last)));
                    sides.push((ranges.to_vec(), ASCII_WORD));
                }
                Look::WordUnicode
                | Look::WordUnicodeNegate
                | Look::WordStartUnicode
                | Look::WordEndUnicode
                | Look::WordStartHalfUnicode
                | Look::WordEndHalfUnicode => sides.push((word(), WORD)),
            }
        }
        Self(sides.into_iter().map(|(ranges, side)| (program.sets.number(ranges), side)).collect())
    }

    /// What is known of the characters of each class.
    fn of_classes(&self, classes: usize, members: &[Vec<u32>]) -> Vec<Side> {
        let mut of_classes = vec![0; classes];
        for (set, side) in &self.0 {
            for class in &members[*set] {
                of_classes[*class as usize] |= side;
            }
        }
        of_classes
    }
}

/// What `\w` is.
fn word() -> Vec<(u32, u32)> {
    let parsed = regex_syntax::parse(r"\w");
    let Ok(HirKind::Class(regex_syntax::hir::Class::Unicode(class))) =
        parsed.as_ref().map(regex_syntax::hir::Hir::kind)
    else {
        return Vec::new();
    };
    let code = |range: &ClassUnicodeRange| (u32::from(range.start()), u32::from(range.end()));
    class.iter().map(code).collect()
}

/// Does it stand so between two neighbours?
fn holds(look: Look, before: Side, after: Side) -> bool {
    let is = |side: Side, what: Side| side & what != 0;
    let both = |what: Side| (is(before, what), is(after, what));
    match look {
        Look::Start => is(before, EDGE),
        Look::End => is(after, EDGE),
        Look::StartLF => is(before, EDGE | LINE_FEED),
        Look::EndLF => is(after, EDGE | LINE_FEED),
        Look::StartCRLF => {
            is(before, EDGE | LINE_FEED) || is(before, CARRIAGE_RETURN) && !is(after, LINE_FEED)
        }
        Look::EndCRLF => {
            is(after, EDGE | CARRIAGE_RETURN) || is(after, LINE_FEED) && !is(before, CARRIAGE_RETURN)
        }
        Look::WordAscii => is(before, ASCII_WORD) != is(after, ASCII_WORD),
        Look::WordAsciiNegate => is(before, ASCII_WORD) == is(after, ASCII_WORD),
        Look::WordUnicode => is(before, WORD) != is(after, WORD),
        Look::WordUnicodeNegate => is(before, WORD) == is(after, WORD),
        Look::WordStartAscii => both(ASCII_WORD) == (false, true),
        Look::WordEndAscii => both(ASCII_WORD) == (true, false),
        Look::WordStartUnicode => both(WORD) == (false, true),
        Look::WordEndUnicode => both(WORD) == (true, false),
        Look::WordStartHalfAscii => !is(before, ASCII_WORD),
        Look::WordEndHalfAscii => !is(after, ASCII_WORD),
        Look::WordStartHalfUnicode => !is(before, WORD),
        Look::WordEndHalfUnicode => !is(after, WORD),
    }
}

/// A state of the automaton: the states that the program may be in, and what went before where they ask for it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Place {
    states: Vec<u32>,
    before: Side,
}

struct Builder {
    program: Program,
    /// The classes of each set.
    members: Vec<Vec<u32>>,
    /// What is known of the characters of each class.
    sides: Vec<Side>,
    columns: usize,
    max_rows: usize,
    work: usize,
    rows: Vec<Vec<u32>>,
    known: HashMap<Place, u32>,
    waiting: Vec<(Place, u32)>,
    closure: Closure,
}

const DEAD_ROW: u32 = 0;
const ACCEPT_ROW: u32 = 1;

impl Builder {
    /// Fills the rows; the answer is that of the start.
    fn build(&mut self) -> Result<u32, TooLarge> {
        let start = self.row(&[], EDGE)?;
        while let Some((place, row)) = self.waiting.pop() {
            self.fill(&place, row as usize)?;
        }
        Ok(start)
    }

    fn spend(&mut self, steps: usize) -> Result<(), TooLarge> {
        self.work = self.work.checked_sub(steps).ok_or(TooLarge)?;
        Ok(())
    }

    /// The row of the place that is reached with these states of the program. As a match may begin anywhere, it is also
    /// at its start.
    fn row(&mut self, states: &[u32], before: Side) -> Result<u32, TooLarge> {
        let found = self.closure.of(&self.program, states.iter().copied().chain([self.program.start]), None);
        let steps = self.closure.steps;
        self.spend(steps)?;
        let Some(found) = found else { return Ok(ACCEPT_ROW) };
        let looks =
            found.iter().any(|state| matches!(self.program.states[*state as usize], State::Look { .. }));
        let place = Place { states: found, before: if looks { before } else { 0 } };
        if let Some(row) = self.known.get(&place) {
            return Ok(*row);
        }
        if self.rows.len() >= self.max_rows {
            return Err(TooLarge);
        }
        let row = u32::try_from(self.rows.len()).map_err(|_| TooLarge)?;
        self.rows.push(vec![DEAD_ROW; self.columns]);
        self.known.insert(place.clone(), row);
        self.waiting.push((place, row));
        Ok(row)
    }

    fn fill(&mut self, place: &Place, row: usize) -> Result<(), TooLarge> {
        let looks = place
            .states
            .iter()
            .any(|state| matches!(self.program.states[*state as usize], State::Look { .. }));
        if !looks {
            let classes: Vec<usize> = (0..self.columns - 1).collect();
            return self.fill_classes(&place.states, &classes, row);
        }
        let mut by_side: Vec<(Side, Vec<usize>)> = Vec::new();
        let sides = self.sides.iter().copied().chain([EDGE]).enumerate();
        for (class, side) in sides {
            match by_side.iter_mut().find(|(known, _)| *known == side) {
                Some((_, classes)) => classes.push(class),
                None => by_side.push((side, vec![class])),
            }
        }
        for (after, classes) in by_side {
            let states = place.states.iter().copied();
            let found = self.closure.of(&self.program, states, Some((place.before, after)));
            let steps = self.closure.steps;
            self.spend(steps)?;
            match found {
                None => classes.iter().for_each(|class| self.rows[row][*class] = ACCEPT_ROW),
                Some(found) if after != EDGE => self.fill_classes(&found, &classes, row)?,
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Fills some columns of a row with what comes after these states.
    fn fill_classes(&mut self, states: &[u32], classes: &[usize], row: usize) -> Result<(), TooLarge> {
        let mut after: Vec<Vec<u32>> = vec![Vec::new(); self.columns];
        let mut steps = self.columns;
        for state in states {
            let State::Take { set, next } = self.program.states[*state as usize] else { continue };
            steps += self.members[set].len();
            self.members[set].iter().for_each(|class| after[*class as usize].push(next));
        }
        self.spend(steps)?;
        // Most classes lead to the same states.
        let mut found: HashMap<(Vec<u32>, Side), u32> = HashMap::new();
        for class in classes {
            let key = (std::mem::take(&mut after[*class]), self.sides[*class]);
            let next = match found.get(&key) {
                Some(next) => *next,
                None => {
                    let next = self.row(&key.0, key.1)?;
                    found.insert(key, next);
                    next
                }
            };
            self.rows[row][*class] = next;
        }
        Ok(())
    }

    /// The rows, in which what leads to no match any more leads to the dead state: there the search ends.
    fn without_dead_ends(mut self) -> Vec<Vec<u32>> {
        let mut from: Vec<Vec<u32>> = vec![Vec::new(); self.rows.len()];
        for (row, nexts) in (0..).zip(&self.rows) {
            nexts.iter().for_each(|next| from[*next as usize].push(row));
        }
        let mut alive = vec![false; self.rows.len()];
        let mut waiting = vec![ACCEPT_ROW];
        while let Some(row) = waiting.pop() {
            if !std::mem::replace(&mut alive[row as usize], true) {
                waiting.append(&mut from[row as usize]);
            }
        }
        for next in self.rows.iter_mut().flatten() {
            if !alive[*next as usize] {
                *next = DEAD_ROW;
            }
        }
        self.rows
    }
}

/// Finds the states that a program can be in without a further character.
struct Closure {
    seen: Vec<u32>,
    round: u32,
    waiting: Vec<u32>,
    steps: usize,
}

impl Closure {
    fn new(states: usize) -> Self {
        Self { seen: vec![0; states], round: 0, waiting: Vec::new(), steps: 0 }
    }

    /// The states that take a character or, where the neighbours are not known, look at them, sorted; `None` where the
    /// expression has matched.
    fn of(
        &mut self,
        program: &Program,
        states: impl Iterator<Item = u32>,
        neighbours: Option<(Side, Side)>,
    ) -> Option<Vec<u32>> {
        self.round += 1;
        self.steps = 1;
        self.waiting.clear();
        self.waiting.extend(states);
        let mut found = Vec::new();
        while let Some(state) = self.waiting.pop() {
            self.steps += 1;
            if std::mem::replace(&mut self.seen[state as usize], self.round) == self.round {
                continue;
            }
            match &program.states[state as usize] {
                State::Take { .. } => found.push(state),
                State::Split(nexts) => self.waiting.extend(nexts),
                State::Look { look, next } => match neighbours {
                    None => found.push(state),
                    Some((before, after)) if holds(*look, before, after) => self.waiting.push(*next),
                    Some(_) => {}
                },
                State::Match => return None,
            }
        }
        found.sort_unstable();
        Some(found)
    }
}
