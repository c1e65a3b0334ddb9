//! Regular expressions of filters: those of the `regex` crate, whose time is linear in the text, bounded in size.

use std::fmt;

use regex::RegexBuilder;
use regex_syntax::ast::parse::Parser;
use regex_syntax::ast::{self, Ast, ClassSetItem, Flag, FlagsItemKind, GroupKind, Visitor};

/// Bytes of the lazy automaton's states. Where they do not fit, the engine falls back to one whose time is that of the
/// text times that of the expression: an expression of 64 KiB then takes seven milliseconds for 10,000 characters
/// instead of thirty microseconds. One automaton lives for each thread that matches.
const CACHE_BYTES: usize = 8 << 20;

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
    compiled: regex::Regex,
    ignores_case: bool,
}

impl fmt::Debug for Regex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Regex({:?}, ignores_case: {})", self.pattern(), self.ignores_case)
    }
}

impl Regex {
    /// Compiles a pattern that takes at most `max_bytes`. `ignores_case` puts `(?i)` before it.
    ///
    /// # Errors
    /// A sentence about the pattern.
    pub fn new(pattern: &str, ignores_case: bool, max_bytes: usize) -> Result<Self, String> {
        let ast = Parser::new().parse(pattern);
        if let Ok(ast) = &ast
            && Classes::without_case(ast, ignores_case) > FOLDED_CHARACTERS
        {
            return Err("The classes of a regular expression without case hold too many characters.".into());
        }
        let compiled = RegexBuilder::new(pattern)
            .case_insensitive(ignores_case)
            .size_limit(max_bytes)
            .dfa_size_limit(CACHE_BYTES)
            .nest_limit(32)
            .build();
        match compiled {
            Ok(compiled) => Ok(Self { compiled, ignores_case }),
            Err(regex::Error::CompiledTooBig(_)) => Err(format!(
                "A regular expression takes at most {max_bytes} bytes compiled (limit filter_regex_bytes)."
            )),
            // The crate's own text draws the pattern over several lines; its last one says what is wrong.
            Err(error) => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default();
                Err(format!(
                    "Not a regular expression: {}.",
                    last.trim_start_matches("error: ").trim_end_matches('.')
                ))
            }
        }
    }

    /// The pattern as it was written.
    pub fn pattern(&self) -> &str {
        self.compiled.as_str()
    }

    /// Is the text matched without regard to case?
    pub fn ignores_case(&self) -> bool {
        self.ignores_case
    }

    /// Does it match somewhere in the text?
    pub fn is_match(&self, text: &str) -> bool {
        self.compiled.is_match(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_take_long_to_compile_is_refused_before_it_is_compiled() {
        let compiles = |pattern: &str, ignores_case| Regex::new(pattern, ignores_case, 64 << 10).is_ok();
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
