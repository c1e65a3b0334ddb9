//! Regular expressions of filters: the syntax of the `regex` crate, decided by an automaton that is complete when the
//! filter is accepted.
//!
//! The crate itself builds its automaton while it searches, so that a text made for an expression costs it microseconds
//! for each character, and keeps one for each thread. Here every character is one step, whatever the text, and the
//! automaton is shared; an expression whose automaton is large is refused. It is made of characters and not of bytes:
//! `\w` is one class of them instead of hundreds of states, and `\b` is as cheap as everything else.

mod alphabet;
mod automaton;
mod program;

use std::fmt;
use std::sync::Arc;

use regex_syntax::ast::parse::ParserBuilder;
use regex_syntax::ast::{self, Ast, ClassSetItem, ErrorKind, Flag, FlagsItemKind, GroupKind, Visitor};
use regex_syntax::hir::translate::TranslatorBuilder;

use self::automaton::Automaton;
use self::program::Program;

/// Groups and classes that are nested in each other at most, whatever the limit says: the stack has an end.
const NESTING: usize = 250;

/// The expression takes more than it may, or too long to find out.
#[derive(Debug)]
struct TooLarge;

/// Characters that the classes of an expression without case may hold together.
///
/// When it is compiled each of them is looked up for its other cases, before the size of anything is known: thirty
/// classes of all characters, in 250 bytes, would take seconds. `\w`, `\d` and `\s` have no other cases.
const FOLDED_CHARACTERS: u64 = 1 << 17;

/// What a Unicode class, `\p{..}`, is counted as. The largest hold four times as many characters, most far fewer.
const UNICODE_CLASS: u64 = 1 << 15;

/// Counts what the classes of an expression hold.
struct Classes {
    characters: u64,
    ignores_case: bool,
}

impl Classes {
    /// The characters of all classes, if any of them may have to be looked up; repetitions are none of the pattern's.
    fn without_case(ast: &Ast, ignores_case: bool) -> u64 {
        let Ok(counted) = ast::visit(ast, Self { characters: 0, ignores_case });
        if counted.ignores_case { counted.characters } else { 0 }
    }

    fn flags(&mut self, flags: &ast::Flags) {
        self.ignores_case |=
            flags.items.iter().any(|item| matches!(item.kind, FlagsItemKind::Flag(Flag::CaseInsensitive)));
    }
}

impl Visitor for Classes {
    type Output = Self;
    type Err = std::convert::Infallible;

    fn finish(self) -> Result<Self, Self::Err> {
        Ok(self)
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), Self::Err> {
        match ast {
            Ast::Flags(set) => self.flags(&set.flags),
            Ast::Group(group) => {
                if let GroupKind::NonCapturing(flags) = &group.kind {
                    self.flags(flags);
                }
            }
            Ast::ClassUnicode(_) => self.characters += UNICODE_CLASS,
            _ => {}
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), Self::Err> {
        self.characters += match item {
            ClassSetItem::Range(range) => u64::from(u32::from(range.end.c) - u32::from(range.start.c)) + 1,
            ClassSetItem::Unicode(_) => UNICODE_CLASS,
            _ => 1,
        };
        Ok(())
    }
}

/// A compiled regular expression.
#[derive(Clone)]
pub struct Regex {
    automaton: Arc<Automaton>,
    pattern: String,
    ignores_case: bool,
}

impl fmt::Debug for Regex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Regex({:?}, ignores_case: {})", self.pattern(), self.ignores_case)
    }
}

impl Regex {
    /// Compiles a pattern that takes at most `max_bytes` and whose groups and classes are nested at most so deep.
    /// `ignores_case` puts `(?i)` before it.
    ///
    /// # Errors
    /// A sentence about the pattern.
    pub fn new(
        pattern: &str,
        ignores_case: bool,
        max_bytes: usize,
        max_nesting: usize,
    ) -> Result<Self, String> {
        let nesting = u32::try_from(max_nesting.min(NESTING)).unwrap_or(u32::MAX);
        let ast =
            ParserBuilder::new().nest_limit(nesting).build().parse(pattern).map_err(|error| {
                match error.kind() {
                    ErrorKind::NestLimitExceeded(most) => format!(
                        "Groups and classes of a regular expression are nested at most {most} deep (limit \
                         filter_regex_nesting)."
                    ),
                    _ => malformed(&error.to_string()),
                }
            })?;
        if Classes::without_case(&ast, ignores_case) > FOLDED_CHARACTERS {
            return Err("The classes of a regular expression without case hold too many characters.".into());
        }
        let hir = TranslatorBuilder::new()
            .case_insensitive(ignores_case)
            .build()
            .translate(pattern, &ast)
            .map_err(|error| malformed(&error.to_string()))?;
        let automaton = Program::new(&hir, max_bytes / BYTES_OF_A_STATE)
            .and_then(|program| Automaton::new(program, max_bytes))
            .map_err(|TooLarge| {
                format!("A regular expression takes at most {max_bytes} bytes compiled (limit filter_regex_bytes).")
            })?;
        Ok(Self { automaton: Arc::new(automaton), pattern: pattern.to_owned(), ignores_case })
    }

    /// The pattern as it was written.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Is the text matched without regard to case?
    pub fn ignores_case(&self) -> bool {
        self.ignores_case
    }

    /// Does it match somewhere in the text?
    pub fn is_match(&self, text: &str) -> bool {
        self.automaton.is_match(text)
    }
}

/// What a state of the program is counted as: a row of two columns, though some states share one.
const BYTES_OF_A_STATE: usize = 8;

/// The parser's own text draws the pattern over several lines; its last one says what is wrong.
fn malformed(text: &str) -> String {
    let last = text.lines().last().unwrap_or_default();
    format!("Not a regular expression: {}.", last.trim_start_matches("error: ").trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_take_long_to_compile_is_refused_before_it_is_compiled() {
        let compiles = |pattern: &str, ignores_case| Regex::new(pattern, ignores_case, 64 << 10, 32).is_ok();
        let all = "[a-\u{10ffff}]";
        for accepted in ["[a-z0-9._%+-]+@[a-z]+", "[^x]+", "\\p{Greek}+", "ab|cd", "[[:alpha:]]", "\\d+\\s"] {
            assert!(compiles(accepted, true), "{accepted}");
            assert!(compiles(&format!("(?i){accepted}"), false), "{accepted}");
        }
        assert!(compiles(all, false), "it is large only without case");
        for refused in
            [all.to_owned(), format!("{all}{{0}}"), format!("[{all}&&{all}]"), "\\p{Greek}".repeat(5)]
        {
            assert!(!compiles(&refused, true), "{refused}");
            for flags in [format!("(?i){refused}"), format!("{refused}(?i:x)"), format!("(?s-i){refused}")] {
                assert!(!compiles(&flags, false), "{flags}");
            }
        }
    }
}
