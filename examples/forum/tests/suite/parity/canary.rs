//! Canaries: values that occur once, so that whoever receives one has been told of what holds it.

use std::collections::{HashMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Makes values that there were not before.
#[derive(Debug, Default)]
pub(super) struct Mint(i64);

impl Mint {
    fn next(&mut self) -> i64 {
        self.0 += 1;
        self.0
    }

    /// Short enough for every text, and a user name too.
    pub(super) fn text(&mut self) -> String {
        let mut number = self.next();
        let mut letters = String::new();
        for _ in 0..5 {
            letters.push(char::from(b'a' + u8::try_from(number % 26).expect("a letter")));
            number /= 26;
        }
        format!("zq{letters}q")
    }

    /// With ten digits, and in the range of every type.
    pub(super) fn number(&mut self) -> i64 {
        1_400_000_000 + self.next()
    }

    /// With microseconds that no form leaves out.
    pub(super) fn time(&mut self) -> String {
        format!("2031-07-{:02} 11:22:33.{:05}7", self.0 % 28 + 1, self.next())
    }

    pub(super) fn date(&mut self) -> String {
        let number = self.next();
        format!("{}-{:02}-{:02}", 2040 + number / 336, number / 28 % 12 + 1, number % 28 + 1)
    }
}

/// What a text contains that may be a canary, also where it stands in base64, as in the cursor of a page.
pub(super) fn words(bytes: &[u8]) -> Vec<String> {
    let mut words = Vec::new();
    let is_of_a_run = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.:+-".contains(byte);
    for run in bytes.split(|byte| !is_of_a_run(byte)).filter(|run| run.len() >= 6) {
        let run = std::str::from_utf8(run).expect("ASCII").trim_matches(['.', ':', '+', '-']);
        for (at, _) in run.match_indices("zq") {
            let word = run.get(at..at + 8);
            words.extend(word.filter(|word| word.ends_with('q')).map(str::to_owned));
        }
        words.extend(run.contains("argon2").then(|| "argon2".to_owned()));
        let digits = run.split(|character: char| !character.is_ascii_digit());
        words.extend(digits.filter(|digits| digits.len() >= 9).map(str::to_owned));
        // Dates and times.
        if run.len() >= 10
            && run.starts_with(|first: char| first.is_ascii_digit())
            && run[4..].starts_with('-')
        {
            words.push(run.to_owned());
        }
        for part in run.split(['.', ':', '+']).filter(|part| part.len() >= 24) {
            if let Ok(decoded) = URL_SAFE_NO_PAD.decode(part) {
                words.extend(self::words(&decoded));
            }
        }
    }
    words
}

/// Who may have received what.
#[derive(Debug, Default)]
pub(super) struct Canaries {
    shown_to: HashMap<String, HashSet<usize>>,
}

impl Canaries {
    /// A value that is somewhere in the database, and whoever sees it.
    pub(super) fn show(&mut self, text: &str, to: impl IntoIterator<Item = usize> + Clone) {
        for word in words(text.as_bytes()) {
            self.shown_to.entry(word).or_default().extend(to.clone());
        }
    }

    /// The values in what somebody has received that he was never shown.
    pub(super) fn leaks(&self, bytes: &[u8], person: usize) -> Vec<String> {
        let is_leak = |word: &String| self.shown_to.get(word).is_some_and(|shown| !shown.contains(&person));
        words(bytes).into_iter().filter(is_leak).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.shown_to.len()
    }
}

#[test]
fn a_canary_is_found_wherever_it_is_said() {
    let (mut mint, mut canaries) = (Mint::default(), Canaries::default());
    let (text, number, time, date) = (mint.text(), mint.number(), mint.time().replace(' ', "T"), mint.date());
    let all = [text.clone(), number.to_string(), time, date];
    for word in &all {
        canaries.show(word, [1]);
    }
    canaries.show("$argon2id$v=19", []);
    for word in &all {
        let in_base64 = URL_SAFE_NO_PAD.encode(format!(r#"[["id"],"{word}","and so on"]"#));
        let said = [
            format!(r#"{{"body":"{word}","x":1}}"#),
            format!(r#"{{"body":{word}}}"#),
            format!("data: {word}\n"),
            format!(r#""next":"/api/comments/?limit=1&cursor={in_base64}""#),
        ];
        for said in said {
            assert_eq!(canaries.leaks(said.as_bytes(), 0).len(), 1, "{said}");
            assert!(canaries.leaks(said.as_bytes(), 1).is_empty(), "{said}");
        }
    }
    assert_eq!(canaries.leaks(format!("the word{text}s of it, {number}.5").as_bytes(), 0).len(), 2);
    assert_eq!(canaries.leaks(b"\"$argon2id$v=19$m=1\"", 1), ["argon2"]);
    assert!(canaries.leaks(format!("1{number}").as_bytes(), 0).is_empty(), "another number");
}
