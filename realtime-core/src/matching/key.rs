//! What values are found by: a hash that equal values share, and a number that keeps their order.
//!
//! Neither has to tell different values apart, because the whole filter is verified on what is found. Both have to
//! agree with [`Value::compare`], by which filters decide: what is missed here is missed for good.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};

use chrono::{Datelike as _, Timelike as _};

use crate::value::Value;

/// Polynomial hashes in a base that nobody knows, so that no client can prepare arguments that meet: for two texts of n
/// words, whatever they are, no more than n of the 2^61 bases give one hash (Carter and Wegman, 1979). A word has seven
/// bytes, or one where the hash has to be known after each. Tables keep 40 bits of it.
pub(crate) struct Hashes {
    /// Below the modulus.
    base: u64,
    /// The base times itself.
    square: u64,
}

/// The largest Mersenne prime whose squares fit into 128 bits with room to add.
const MODULUS: u64 = (1 << 61) - 1;

/// How many bytes are below the modulus together with their number.
pub(super) const WORD: usize = 7;

/// Says nothing of the base.
impl fmt::Debug for Hashes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Hashes").finish_non_exhaustive()
    }
}

impl Default for Hashes {
    fn default() -> Self {
        Self::of((RandomState::new().hash_one(0) % (MODULUS - 0x200)) + 0x100)
    }
}

impl Hashes {
    fn of(base: u64) -> Self {
        Self { base, square: reduced(u128::from(base) * u128::from(base)) }
    }

    /// As unlucky as hashes can be.
    #[cfg(test)]
    pub(super) fn all_the_same() -> Self {
        Self::of(0)
    }

    /// Equal for values that compare as equal, and for nulls.
    pub(super) fn value(&self, value: &Value<'_>) -> u64 {
        match value {
            // What no text has: a field may have many nulls, and must not be taken for one without text or a zero.
            Value::Null => self.step_word(0, 0, WORD + 1),
            // Equal to nothing.
            Value::Json(_) => 0,
            Value::Bool(value) => self.words([u64::from(*value)]),
            Value::Int(value) => self.number(value.cast_unsigned()),
            Value::Float(value) => self.number(float_bits(*value)),
            Value::Text(value) => self.text(value),
            Value::Timestamp(value) => self.words([
                half(value.timestamp().cast_unsigned()),
                half(value.timestamp().cast_unsigned() >> 32),
                u64::from(value.timestamp_subsec_nanos()),
            ]),
            Value::Date(value) => self.words([u64::from(value.num_days_from_ce().cast_unsigned())]),
            Value::Time(value) => {
                self.words([u64::from(value.num_seconds_from_midnight()), u64::from(value.nanosecond())])
            }
            Value::Bytes(value) => self.bytes(value),
            Value::Uuid(value) => self.bytes(value.as_bytes()),
            Value::Decimal(value) => {
                let value = value.normalize();
                let hash = self.bytes(&value.mantissa().to_le_bytes());
                self.step_word(hash, u64::from(value.scale()), WORD)
            }
        }
    }

    pub(crate) fn text(&self, text: &str) -> u64 {
        self.bytes(text.as_bytes())
    }

    /// The hash of several texts, one after another.
    pub(super) fn texts<'a>(&self, texts: impl Iterator<Item = &'a str>) -> u64 {
        texts.fold(0, |hash, text| self.times_base(once_reduced(hash + self.text(text))))
    }

    /// The hash of an ASCII text when it is folded.
    pub(super) fn folded(&self, ascii: &[u8]) -> u64 {
        self.mapped(ascii, |byte| byte.to_ascii_lowercase())
    }

    pub(super) fn bytes(&self, bytes: &[u8]) -> u64 {
        self.mapped(bytes, |byte| byte)
    }

    #[inline]
    fn mapped(&self, bytes: &[u8], map: impl Fn(u8) -> u8) -> u64 {
        let word_of = |bytes: &[u8]| bytes.iter().fold(0, |word, byte| (word << 8) | u64::from(map(*byte)));
        let (words, rest) = bytes.as_chunks::<WORD>();
        let hash = words.iter().fold(0, |hash, word| self.step_word(hash, word_of(word), WORD));
        if rest.is_empty() { hash } else { self.step_word(hash, word_of(rest), rest.len()) }
    }

    /// A polynomial of two words, both of which are multiplied at once.
    fn number(&self, number: u64) -> u64 {
        let (low, high) = (half(number), half(number >> 32));
        reduced(u128::from(low) * u128::from(self.square) + u128::from(high) * u128::from(self.base))
    }

    fn words<const COUNT: usize>(&self, words: [u64; COUNT]) -> u64 {
        words.into_iter().fold(0, |hash, word| self.step_word(hash, word, WORD))
    }

    /// Goes on by a byte in a hash that starts at 0. It is known after every byte, which is what needles need.
    pub(super) fn step(&self, hash: u64, byte: u8) -> u64 {
        reduced(u128::from(hash) * u128::from(self.base) + u128::from(byte) + 1)
    }

    /// Goes on by a word below 2^56 and its length, of at most eight: texts have [`WORD`] bytes in all words but the last,
    /// and what is no text gives what tells it apart. The base comes last: what
    /// tables take of a hash would otherwise be the last bytes as they are.
    pub(super) fn step_word(&self, hash: u64, word: u64, bytes: usize) -> u64 {
        self.times_base(once_reduced(hash + (((bytes as u64) << (8 * WORD)) | word)))
    }

    /// The next power of the base.
    pub(super) fn times_base(&self, power: u64) -> u64 {
        reduced(u128::from(power) * u128::from(self.base))
    }

    /// The hash of what lies between two places, from those of what comes before each; `power` is that of as many bytes.
    #[expect(clippy::unused_self, reason = "it says nothing without the base that the others were made with")]
    pub(super) fn between(&self, start: u64, end: u64, power: u64) -> u64 {
        let before = reduced(u128::from(start) * u128::from(power));
        if end >= before { end - before } else { end + MODULUS - before }
    }
}

/// The remainder of a number below 2^122: a product of two that are below the modulus, or a sum of few such.
fn reduced(product: u128) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "both parts are below 2^62")]
    let folded = (product as u64 & MODULUS) + (product >> 61) as u64;
    once_reduced(folded)
}

/// The remainder of a sum of two numbers up to the modulus.
fn once_reduced(sum: u64) -> u64 {
    if sum >= MODULUS { sum - MODULUS } else { sum }
}

fn half(number: u64) -> u64 {
    number & u64::from(u32::MAX)
}

/// `-0.0` as `0.0`, and one NaN.
fn float_bits(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { (value + 0.0).to_bits() }
}

/// A number that does not descend where values of one kind ascend; `None` for a value without an order.
pub(super) fn ordered(value: &Value<'_>) -> Option<u128> {
    Some(match value {
        Value::Null | Value::Json(_) => return None,
        Value::Bool(value) => u128::from(*value),
        Value::Int(value) => signed(i128::from(*value)),
        Value::Float(value) if value.is_nan() => u128::MAX,
        Value::Float(value) => {
            let bits = float_bits(*value);
            // The magnitude is ordered as its bits are; below zero the other way round.
            u128::from(if bits >> 63 == 0 { bits | (1 << 63) } else { !bits })
        }
        Value::Text(value) => leading(value.as_bytes()),
        Value::Timestamp(value) => {
            // A leap second lies before the next one although its nanoseconds do not.
            let nanos = value.timestamp_subsec_nanos().min(999_999_999);
            signed(i128::from(value.timestamp()) * 1_000_000_000 + i128::from(nanos))
        }
        Value::Date(value) => signed(i128::from(value.num_days_from_ce())),
        Value::Time(value) => {
            (u128::from(value.num_seconds_from_midnight()) << 32) | u128::from(value.nanosecond())
        }
        Value::Bytes(value) => leading(value),
        Value::Uuid(value) => value.as_u128(),
        Value::Decimal(value) => {
            // Nine places, cut off. 96 bits of digits times 10^9 are fewer than 127 bits.
            let unit = 10_i128.pow(value.scale());
            let (whole, rest) = (value.mantissa() / unit, value.mantissa() % unit);
            let places = match value.scale() {
                scale @ 0..=9 => rest * 10_i128.pow(9 - scale),
                scale => rest / 10_i128.pow(scale - 9),
            };
            signed(whole * 1_000_000_000 + places)
        }
    })
}

fn signed(value: i128) -> u128 {
    value.cast_unsigned() ^ (1 << 127)
}

/// The first bytes. What has them in common is told apart by the filter.
fn leading(bytes: &[u8]) -> u128 {
    let mut word = [0; 16];
    for (place, byte) in word.iter_mut().zip(bytes) {
        *place = *byte;
    }
    u128::from_be_bytes(word)
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::*;

    /// Values of every kind, those that are equal without being the same among them.
    fn values() -> Vec<Value<'static>> {
        let decimals = [
            "0",
            "-0",
            "-0.00",
            "12.5",
            "12.50",
            "-12.5",
            "0.0000000001",
            "0.0000000002",
            "-0.0000000001",
            "79228162514264337593543950335",
            "-79228162514264337593543950335",
            "7.9228162514264337593543950335",
            "0.0000000000000000000000000001",
            "1",
            "1.0",
            "-1",
            "100",
        ];
        let floats = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            5e-324,
            -5e-324,
            f64::MAX,
            f64::MIN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            -f64::NAN,
            1.5,
        ];
        let leap = chrono::NaiveDate::from_ymd_opt(2016, 12, 31)
            .and_then(|day| day.and_hms_nano_opt(23, 59, 59, 1_500_000_000))
            .expect("a leap second");
        let second = chrono::TimeDelta::nanoseconds(1);
        let instants = [
            leap.and_utc(),
            chrono::DateTime::<chrono::Utc>::MIN_UTC,
            chrono::DateTime::<chrono::Utc>::MAX_UTC,
            chrono::DateTime::<chrono::Utc>::UNIX_EPOCH,
            chrono::DateTime::<chrono::Utc>::UNIX_EPOCH - second,
            chrono::DateTime::from_timestamp(1_483_228_800, 100_000_000).expect("an instant"),
            chrono::DateTime::from_timestamp(1_483_228_799, 999_999_999).expect("an instant"),
        ];
        let texts =
            ["", "\0", "a", "a\0", "ab", "b", "é", "\u{10ffff}", "0123456789abcdefX", "0123456789abcdefY"];
        let mut values = vec![Value::Null, Value::Bool(false), Value::Bool(true)];
        values.extend([i64::MIN, -1, 0, 1, i64::MAX].map(Value::Int));
        values.extend(floats.map(Value::Float));
        values.extend(texts.map(Value::from));
        values.extend(texts.map(|text| Value::Bytes(text.as_bytes().into())));
        values.extend(instants.map(Value::Timestamp));
        values.extend(instants.map(|instant| Value::Date(instant.date_naive())));
        values.extend(instants.map(|instant| Value::Time(instant.time())));
        values.extend([0, 1, u128::MAX].map(|number| Value::Uuid(uuid::Uuid::from_u128(number))));
        values.extend(decimals.map(|text| {
            Value::Decimal(rust_decimal::Decimal::from_str_exact(text).expect("a decimal number"))
        }));
        values.push(Value::Json(std::borrow::Cow::Owned(serde_json::Value::Null)));
        values
    }

    #[test]
    fn hashes_and_numbers_agree_with_the_comparison() {
        let hashes = Hashes::default();
        let values = values();
        for left in &values {
            for right in &values {
                match left.compare(right) {
                    Some(Ordering::Equal) => {
                        assert_eq!(hashes.value(left), hashes.value(right), "{left:?} {right:?}");
                        assert_eq!(ordered(left), ordered(right), "{left:?} {right:?}");
                    }
                    Some(Ordering::Less) => {
                        assert!(ordered(left) <= ordered(right), "{left:?} {right:?}");
                    }
                    Some(Ordering::Greater) | None => {}
                }
            }
        }
    }

    /// Two numbers that met whatever the base is would be a candidate too many for good.
    #[test]
    fn numbers_have_hashes_of_their_own() {
        let hashes = Hashes::default();
        let numbers: Vec<i64> =
            (0..64).flat_map(|bit| (-9..=9).map(move |near| (1_i64 << bit).wrapping_add(near))).collect();
        for left in &numbers {
            for right in numbers.iter().filter(|right| *right != left) {
                let hash = |number: &i64| hashes.value(&Value::Int(*number));
                assert_ne!(hash(left), hash(right), "{left} {right}");
            }
        }
        let null = hashes.value(&Value::Null);
        for other in values().iter().filter(|value| !value.is_null()) {
            assert_ne!(hashes.value(other), null, "{other:?}");
        }
    }

    #[test]
    fn a_step_stays_below_the_modulus() {
        let hashes = Hashes::of(MODULUS - 1);
        let mut hash = MODULUS - 1;
        for byte in [0, 255, 1, 254, 255, 255] {
            hash = hashes.step(hash, byte);
            assert!(hash < MODULUS);
        }
        for word in [0, (1 << 56) - 1, 1, (1 << 56) - 1, (1 << 56) - 1] {
            hash = hashes.step_word(hash, word, WORD);
            assert!(hash < MODULUS);
        }
    }

    #[test]
    fn what_lies_between_two_places_has_the_hash_that_it_has_alone() {
        let hashes = Hashes::default();
        let text = b"abracadabra \0\xff";
        let of = |bytes: &[u8]| bytes.iter().fold(0, |hash, byte| hashes.step(hash, *byte));
        let mut power = 1;
        for length in 0..=text.len() {
            for at in 0..=text.len() - length {
                let (start, end) = (of(&text[..at]), of(&text[..at + length]));
                assert_eq!(hashes.between(start, end, power), of(&text[at..at + length]));
            }
            power = hashes.times_base(power);
        }
    }
}
