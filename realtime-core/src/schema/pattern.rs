//! Regular expressions in the dialect that JSON Schema has in common with the crate `regex`.

use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

/// A pattern for a schema, which ECMA-262 and other dialects read as `regex` reads the one it was made of.
pub(super) struct Portable {
    pub(super) source: String,
    /// May a text that it is found in have U+0000?
    pub(super) admits_nul: bool,
}

/// Ranges of a class, beyond which a pattern is not for readers: `\w` has seven hundred.
const RANGES: usize = 16;

/// The pattern for a schema; none where other dialects have no short form of it that means the same.
///
/// What `\d`, `.` or `(?i)` mean differs, so the pattern is written anew from what it means here.
pub(super) fn portable(source: &str) -> Option<Portable> {
    let hir = regex_syntax::parse(source).ok()?;
    let properties = hir.properties();
    let is_whole = properties.look_set_prefix().contains(Look::Start)
        && properties.look_set_suffix().contains(Look::End);
    let mut writer = Writer { source: String::new(), has_nul: false };
    writer.write(&hir, Place::Alternation)?;
    Some(Portable { source: writer.source, admits_nul: writer.has_nul || !is_whole })
}

/// Where an expression stands: what it needs brackets for.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Place {
    Alternation,
    Concat,
    Repeated,
}

struct Writer {
    source: String,
    has_nul: bool,
}

impl Writer {
    fn write(&mut self, hir: &Hir, place: Place) -> Option<()> {
        match hir.kind() {
            HirKind::Empty => {
                if place == Place::Repeated {
                    self.source.push_str("(?:)");
                }
            }
            HirKind::Literal(literal) => {
                let text = std::str::from_utf8(&literal.0).ok()?;
                let single = text.chars().nth(1).is_none();
                self.grouped(place == Place::Repeated && !single, |writer| {
                    text.chars().for_each(|character| writer.character(character, r"\^$.*+?()[]{}|/"));
                    Some(())
                })?;
            }
            HirKind::Class(Class::Unicode(class)) => {
                let ranges = class.ranges();
                if ranges.len() > RANGES {
                    return None;
                }
                self.source.push('[');
                for range in ranges {
                    self.character(range.start(), r"\]^-[");
                    if range.end() > range.start() {
                        self.source.push('-');
                        self.character(range.end(), r"\]^-[");
                    }
                }
                self.source.push(']');
            }
            HirKind::Look(Look::Start) if place < Place::Repeated => self.source.push('^'),
            HirKind::Look(Look::End) if place < Place::Repeated => self.source.push('$'),
            HirKind::Class(Class::Bytes(_)) | HirKind::Look(_) => return None,
            HirKind::Repetition(Repetition { min, max, greedy, sub }) => {
                self.grouped(place == Place::Repeated, |writer| {
                    writer.write(sub, Place::Repeated)?;
                    match (min, max) {
                        (0, None) => writer.source.push('*'),
                        (1, None) => writer.source.push('+'),
                        (0, Some(1)) => writer.source.push('?'),
                        (min, None) => writer.source.push_str(&format!("{{{min},}}")),
                        (min, Some(max)) if min == max => writer.source.push_str(&format!("{{{min}}}")),
                        (min, Some(max)) => writer.source.push_str(&format!("{{{min},{max}}}")),
                    }
                    if !greedy {
                        writer.source.push('?');
                    }
                    Some(())
                })?;
            }
            HirKind::Capture(capture) => {
                self.source.push('(');
                self.write(&capture.sub, Place::Alternation)?;
                self.source.push(')');
            }
            HirKind::Concat(parts) => self.grouped(place == Place::Repeated, |writer| {
                parts.iter().try_for_each(|part| writer.write(part, Place::Concat))
            })?,
            HirKind::Alternation(parts) => self.grouped(place > Place::Alternation, |writer| {
                for (at, part) in parts.iter().enumerate() {
                    if at > 0 {
                        writer.source.push('|');
                    }
                    writer.write(part, Place::Alternation)?;
                }
                Some(())
            })?,
        }
        Some(())
    }

    fn grouped(&mut self, brackets: bool, content: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        if brackets {
            self.source.push_str("(?:");
        }
        content(self)?;
        if brackets {
            self.source.push(')');
        }
        Some(())
    }

    /// A character, with a backslash where it is one of the `special` ones.
    fn character(&mut self, character: char, special: &str) {
        self.has_nul |= character == '\0';
        let code = u32::from(character);
        if special.contains(character) {
            self.source.push('\\');
            self.source.push(character);
        } else if code < 0x1_0000 && (character.is_control() || character.is_whitespace() && character != ' ')
        {
            self.source.push_str(&format!("\\u{code:04x}"));
        } else {
            self.source.push(character);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pattern_is_written_as_every_dialect_reads_it() {
        for (source, expected) in [
            ("^[a-z0-9_]*$", Some("^[0-9_a-z]*$")),
            (r"^\w+$", None),
            (r"^(?i)ab-c$", Some("^[Aa][Bb]-[Cc]$")),
            (r"^(?:ab|cd)+x{2,}(e{2}|f{1,3}?)?\.$", Some(r"^(?:ab|cd)+x{2,}(e{2}|f{1,3}?)?\.$")),
            (r"^[\]\-^\\]$", Some(r"^[\-\\-\^]$")),
            (r"\bx", None),
            ("(?m)^x", None),
            (r"a\u{1F600}\n", Some("a😀\\u000a")),
            ("(", None),
        ] {
            assert_eq!(portable(source).map(|found| found.source).as_deref(), expected, "{source}");
        }
    }

    #[test]
    fn what_cannot_have_a_nul_is_known() {
        for (source, admits) in
            [("^[a-z]*$", false), ("[a-z]", true), ("^[^a]$", true), ("^a|b$", true), (r"^\x00$", true)]
        {
            assert_eq!(portable(source).map(|found| found.admits_nul), Some(admits), "{source}");
        }
    }

    proptest! {
        /// What is written is one more expression of the same syntax, with the same meaning.
        #[test]
        fn the_meaning_is_kept(source in r"\^?([a-c.]|\[\^?[a-d]-?[e-h]\]|\(([ab]|ab\|c)\)|(\?:ab?))([*+?]|\{1,3\})?[ab.]?(\|[ab]+)?\$?", texts in prop::collection::vec("[a-h\n]{0,6}", 8)) {
            let Ok(before) = regex::Regex::new(&source) else { return Ok(()) };
            let Some(written) = portable(&source) else { return Ok(()) };
            let after = regex::Regex::new(&written.source).expect("it can be read");
            for text in texts {
                prop_assert_eq!(before.is_match(&text), after.is_match(&text), "{} {}", source, written.source);
            }
        }
    }
}
