//! Regular expressions of filters: those of the `regex` crate, whose time is linear in the text, bounded in size.

use std::fmt;

use regex::RegexBuilder;

/// Bytes of the lazy automaton's states. Where they do not fit, the engine falls back to one whose time is that of the
/// text times that of the expression: an expression of 64 KiB then takes seven milliseconds for 10,000 characters
/// instead of thirty microseconds. One automaton lives for each thread that matches.
const CACHE_BYTES: usize = 8 << 20;

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
