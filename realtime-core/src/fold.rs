//! Case folding as the protocol defines it: every character lower-cased by itself, then ς as σ; no locale.

/// The characters of a text, folded.
pub(crate) fn folded(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().flat_map(char::to_lowercase).map(|character| if character == 'ς' { 'σ' } else { character })
}

/// A folded copy of a text.
pub(crate) fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    out.extend(folded(text));
    out
}

/// Calls a function with a folded text, which is kept in a buffer of the thread: nothing is allocated once it is large
/// enough.
pub(crate) fn with_folded<T>(text: &str, use_it: impl FnOnce(&str) -> T) -> T {
    thread_local! {
        static BUFFER: std::cell::Cell<String> = const { std::cell::Cell::new(String::new()) };
    }
    let mut buffer = BUFFER.take();
    buffer.clear();
    if text.is_ascii() {
        buffer.push_str(text);
        buffer.make_ascii_lowercase();
    } else {
        buffer.extend(folded(text));
    }
    let result = use_it(&buffer);
    BUFFER.set(buffer);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_is_that_of_the_protocol() {
        assert_eq!(fold("ẞ"), "ß");
        assert_ne!(fold("ß"), "ss");
        assert_eq!(fold("ΣΟΦΟΣ"), fold("σοφος"));
        assert_eq!(fold("σοφος"), fold("σοφοσ"));
        assert_eq!(fold("İ"), "i\u{307}");
        assert_eq!(fold("ÀÉ x"), "àé x");
        for text in ["", "ASCII only [\\]^_`", "Σς", "\u{0}É"] {
            with_folded(text, |folded| assert_eq!(folded, fold(text)));
        }
    }
}
