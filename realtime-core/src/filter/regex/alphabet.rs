//! The characters of an expression as classes: it cannot tell two characters of one class apart.

use std::collections::HashMap;

/// Sets of characters, each once, from which an alphabet is made.
#[derive(Default)]
pub(super) struct Sets {
    sets: Vec<Vec<(u32, u32)>>,
    known: HashMap<Vec<(u32, u32)>, usize>,
}

impl Sets {
    /// The number of a set of inclusive ranges, which are sorted and do not meet.
    pub(super) fn number(&mut self, ranges: Vec<(u32, u32)>) -> usize {
        *self.known.entry(ranges).or_insert_with_key(|ranges| {
            self.sets.push(ranges.clone());
            self.sets.len() - 1
        })
    }

    /// Classes as large as the sets allow, and for each set the classes that are in it.
    pub(super) fn alphabet(&self) -> (Alphabet, Vec<Vec<u32>>) {
        let mut edges: Vec<(u32, usize)> = Vec::new();
        for (set, ranges) in self.sets.iter().enumerate() {
            edges.extend(ranges.iter().flat_map(|(first, last)| [(*first, set), (last + 1, set)]));
        }
        edges.sort_unstable();
        let mut within = vec![0_u64; self.sets.len().div_ceil(64)];
        let mut classes = HashMap::from([(within.clone(), 0)]);
        let mut alphabet = Alphabet { ascii: [0; 128], starts: vec![0], classes: vec![0], len: 1 };
        let mut edges = edges.into_iter().peekable();
        while let Some((at, set)) = edges.next() {
            within[set / 64] ^= 1 << (set % 64);
            if edges.peek().is_some_and(|(next, _)| *next == at) {
                continue;
            }
            let class = *classes.entry(within.clone()).or_insert_with(|| {
                alphabet.len += 1;
                alphabet.len - 1
            });
            alphabet.begin(at, class);
        }
        for (code, class) in (0..).zip(&mut alphabet.ascii) {
            let range = alphabet.starts.partition_point(|start| *start <= code) - 1;
            *class = alphabet.classes[range];
        }
        let mut members = vec![Vec::new(); self.sets.len()];
        for (within, class) in &classes {
            for (set, members) in members.iter_mut().enumerate() {
                if within[set / 64] & 1 << (set % 64) != 0 {
                    members.push(*class);
                }
            }
        }
        // In the order of a map, otherwise: numbers of states would differ from one run to the next.
        members.iter_mut().for_each(|members| members.sort_unstable());
        (alphabet, members)
    }
}

/// Which class each character is of.
#[derive(Clone)]
pub(super) struct Alphabet {
    ascii: [u32; 128],
    /// Where ranges begin; the first begins at U+0000.
    starts: Vec<u32>,
    /// The classes of those ranges.
    classes: Vec<u32>,
    len: u32,
}

impl Alphabet {
    fn begin(&mut self, at: u32, class: u32) {
        if self.starts.last() == Some(&at) {
            self.starts.pop();
            self.classes.pop();
        }
        if self.classes.last() != Some(&class) {
            self.starts.push(at);
            self.classes.push(class);
        }
    }

    /// The number of classes.
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.ascii) + 2 * size_of_val(&self.starts[..])
    }

    /// The class of a character.
    pub(super) fn class(&self, character: char) -> u32 {
        let code = u32::from(character);
        match self.ascii.get(code as usize) {
            Some(class) => *class,
            None => self.classes[self.starts.partition_point(|start| *start <= code) - 1],
        }
    }
}
