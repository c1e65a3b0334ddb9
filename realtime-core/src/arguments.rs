//! The arguments of an application's action: a type of serde's, read in the manner of payloads.
//!
//! serde stops at the first mistake and says it in its own words. Here a value is looked at as a payload's is, and when
//! something is wrong each member is tried by itself, so that all mistakes are told together, each under its own name.
//! The same way finds out what a type takes: it is given samples.

use std::cell::Cell;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Value as Json};

use crate::error::{Error, NON_FIELD_ERRORS};
use crate::field::Kind;
use crate::filter::parse_value;

/// What is known of one argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: &'static str,
    /// What sort of value it takes.
    pub sort: Sort,
    /// May it be `null`?
    pub nullable: bool,
    /// Must a request name it?
    pub required: bool,
}

/// What sort of value an argument takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// `true` or `false`.
    Bool,
    /// An integer between two bounds.
    Integer {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// Any number.
    Number,
    /// A text.
    Text,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A list.
    List(Box<Self>),
    /// An object.
    Object,
    /// Anything, or what is not known.
    #[default]
    Any,
}

/// No arguments.
#[derive(Debug, serde::Deserialize)]
pub struct NoArguments {}

/// Reads the arguments of an action.
///
/// # Errors
/// `validation_error` with all mistakes, by argument.
pub fn read<T: DeserializeOwned>(payload: &Map<String, Json>) -> Result<T, Error> {
    let mut members = Members::of(payload.iter().map(|(name, json)| (name.as_str(), Strict(json))));
    let read = T::deserialize(&mut members);
    let known = members.names;
    let is_unknown = |name: &str| known.is_some_and(|names| !names.contains(&name));
    match read {
        Ok(arguments) if !payload.keys().any(|name| is_unknown(name)) => Ok(arguments),
        read => Err(mistakes::<T>(payload, known.unwrap_or_default(), is_unknown, read.err())),
    }
}

fn mistakes<T: DeserializeOwned>(
    payload: &Map<String, Json>,
    known: &[&str],
    is_unknown: impl Fn(&str) -> bool,
    first: Option<Mistake>,
) -> Error {
    let mut error = None;
    let mut refuse = |name: &str, message: String| {
        error = Some(match error.take() {
            Some(error) => Error::and(error, name, message),
            None => Error::validation(name, message),
        });
    };
    for (name, json) in payload {
        if is_unknown(name) {
            refuse(name, unknown_field(known));
            continue;
        }
        let mut alone = Members::of([(name.as_str(), Strict(json))]);
        if let Err(mistake) = T::deserialize(&mut alone)
            && alone.failed
        {
            refuse(name, mistake.message);
        }
    }
    for argument in describe::<T>().unwrap_or_default() {
        if argument.required && !payload.contains_key(argument.name) {
            refuse(argument.name, "This field is required.".to_owned());
        }
    }
    // What is said of all of them together, or of one that cannot be looked at by itself.
    error.unwrap_or_else(|| match first {
        Some(Mistake { missing: Some(name), .. }) => Error::validation(name, "This field is required."),
        Some(mistake) => Error::validation(NON_FIELD_ERRORS, mistake.message),
        None => Error::validation(NON_FIELD_ERRORS, "These values are not acceptable."),
    })
}

fn unknown_field(known: &[&str]) -> String {
    match known {
        [] => "Unknown field; there are none.".to_owned(),
        known => format!("Unknown field; the fields are {}.", known.join(", ")),
    }
}

/// What is wrong with arguments.
#[derive(Debug)]
struct Mistake {
    message: String,
    missing: Option<&'static str>,
}

impl Mistake {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), missing: None }
    }
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Mistake {}

impl serde::de::Error for Mistake {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self { message: format!("{field}: This field is required."), missing: Some(field) }
    }
}

/// The members of an object. Remembers whether it was a value that was refused, and which names there may be.
struct Members<I> {
    members: I,
    names: Option<&'static [&'static str]>,
    failed: bool,
}

impl<'a, D, I: Iterator<Item = (&'a str, D)>> Members<I> {
    fn of(members: impl IntoIterator<IntoIter = I>) -> Self {
        Self { members: members.into_iter(), names: None, failed: false }
    }
}

impl<'de, 'a, D, I> Deserializer<'de> for &mut Members<I>
where
    D: Deserializer<'de, Error = Mistake>,
    I: Iterator<Item = (&'a str, D)>,
{
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_map(Entries { members: self, value: None })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.names = Some(fields);
        self.deserialize_any(visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.names = Some(&[]);
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option seq tuple
        tuple_struct map enum identifier ignored_any
    }
}

struct Entries<'m, I, D> {
    members: &'m mut Members<I>,
    value: Option<D>,
}

impl<'de, 'a, D, I> MapAccess<'de> for Entries<'_, I, D>
where
    D: Deserializer<'de, Error = Mistake>,
    I: Iterator<Item = (&'a str, D)>,
{
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mistake> {
        let Some((name, value)) = self.members.members.next() else { return Ok(None) };
        self.value = Some(value);
        let name: StrDeserializer<'_, Mistake> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mistake> {
        let value = self.value.take().ok_or_else(|| Mistake::new("A value is missing."))?;
        let read = seed.deserialize(value);
        self.members.failed |= read.is_err();
        read
    }
}

/// The values of a list.
struct Items<I>(I);

impl<'de, D, I> SeqAccess<'de> for Items<I>
where
    D: Deserializer<'de, Error = Mistake>,
    I: Iterator<Item = D>,
{
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Mistake> {
        self.0.next().map(|item| seed.deserialize(item)).transpose()
    }
}

/// A value of a request, looked at as a payload's is.
#[derive(Clone, Copy)]
struct Strict<'a>(&'a Json);

impl Strict<'_> {
    fn value(self, kind: Kind) -> Result<crate::value::Value<'static>, Mistake> {
        if self.0.is_null() {
            return Err(Mistake::new("This field may not be null."));
        }
        parse_value(kind, self.0).map_err(Mistake::new)
    }

    fn integer(self, min: i64, max: i64) -> Result<i64, Mistake> {
        match self.value(Kind::Integer { min, max })? {
            crate::value::Value::Int(number) => Ok(number),
            _ => Err(Mistake::new("A valid integer is required.")),
        }
    }

    fn number(self) -> Result<f64, Mistake> {
        match self.value(Kind::Float)? {
            crate::value::Value::Float(number) => Ok(number),
            _ => Err(Mistake::new("A valid number is required.")),
        }
    }

    fn text(self) -> Result<String, Mistake> {
        match self.value(Kind::Text)? {
            crate::value::Value::Text(text) if text.contains('\0') => {
                Err(Mistake::new("Null characters are not allowed."))
            }
            crate::value::Value::Text(text) => Ok(text.into_owned()),
            _ => Err(Mistake::new("Not a valid string.")),
        }
    }

    fn null(self) -> Result<(), Mistake> {
        if self.0.is_null() { Ok(()) } else { Err(Mistake::new("Must be null.")) }
    }
}

/// A visitor of an integer takes any that fits; the bounds are those of its type.
macro_rules! integers {
    ($($function:ident $type:ty),*) => {
        $(fn $function<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
            visitor.visit_i64(self.integer(<$type>::MIN.into(), <$type>::MAX.into())?)
        })*
    };
}

impl<'de> Deserializer<'de> for Strict<'_> {
    type Error = Mistake;

    integers!(
        deserialize_i8 i8,
        deserialize_i16 i16,
        deserialize_i32 i32,
        deserialize_i64 i64,
        deserialize_u8 u8,
        deserialize_u16 u16,
        deserialize_u32 u32
    );

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.0.as_u64() {
            Some(number) => visitor.visit_u64(number),
            None => visitor.visit_i64(self.integer(0, i64::MAX)?),
        }
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_f64(self.number()?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_f64(self.number()?)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.value(Kind::Bool)? {
            crate::value::Value::Bool(value) => visitor.visit_bool(value),
            _ => Err(Mistake::new("Must be a valid boolean.")),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_string(self.text()?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_string(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_string(self.text()?)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_string(self.text()?)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_byte_buf(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.value(Kind::Bytes)? {
            crate::value::Value::Bytes(bytes) => visitor.visit_byte_buf(bytes.into_owned()),
            _ => Err(Mistake::new("Bytes are required in base64, padded.")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.null()?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.0 {
            Json::Array(items) => visitor.visit_seq(Items(items.iter().map(Strict))),
            Json::Null => Err(Mistake::new("This field may not be null.")),
            _ => Err(Mistake::new("A list is required.")),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Mistake> {
        match self.0 {
            Json::Array(items) if items.len() != len => {
                Err(Mistake::new(format!("A list of {len} values is required.")))
            }
            _ => self.deserialize_seq(visitor),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.0 {
            Json::Object(members) => {
                let members = members.iter().map(|(name, json)| (name.as_str(), Strict(json)));
                Members::of(members).deserialize_any(visitor)
            }
            Json::Null => Err(Mistake::new("This field may not be null.")),
            _ => Err(Mistake::new("An object is required.")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        if let Json::Object(members) = self.0
            && let Some(unknown) = members.keys().find(|name| !fields.contains(&name.as_str()))
        {
            return Err(Mistake::new(format!("{}: {}", crate::error::shown(unknown), unknown_field(fields))));
        }
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        let named = match self.0 {
            Json::String(text) => Some(text),
            Json::Object(members) if members.len() == 1 => members.keys().next(),
            Json::Null => return Err(Mistake::new("This field may not be null.")),
            _ => None,
        };
        if !named.is_some_and(|named| variants.contains(&named.as_str())) {
            return Err(Mistake::new(format!(
                "{} is not a valid choice; the choices are {}.",
                self.0,
                variants.join(", ")
            )));
        }
        // What a variant holds is read in serde's own manner.
        self.0
            .clone()
            .deserialize_enum(name, variants, visitor)
            .map_err(|error| Mistake::new(error.to_string()))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_unit()
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.0 {
            Json::Null => visitor.visit_unit(),
            Json::Bool(value) => visitor.visit_bool(*value),
            Json::String(_) => visitor.visit_string(self.text()?),
            Json::Array(_) => self.deserialize_seq(visitor),
            Json::Object(_) => self.deserialize_map(visitor),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => visitor.visit_i64(number),
                (None, Some(number)) => visitor.visit_u64(number),
                (None, None) => visitor.visit_f64(self.number()?),
            },
        }
    }
}

/// Texts of which most types that are written as text take one.
const TEXTS: &[&str] = &[
    "",
    "a",
    "0",
    "1970-01-01",
    "1970-01-01T00:00:00Z",
    "1970-01-01T00:00:00",
    "00:00:00",
    "00000000-0000-0000-0000-000000000000",
    "a@example.org",
    "http://example.org/",
];

/// Finds out which arguments a type takes; `None` where it takes members of any name.
pub fn describe<T: DeserializeOwned>() -> Option<Vec<Argument>> {
    let nothing: [(&str, &Sample); 0] = [];
    let mut members = Members::of(nothing);
    let _ = T::deserialize(&mut members);
    let names = members.names?;
    let mut arguments = Vec::with_capacity(names.len());
    // For each name the first sample that is taken.
    let mut taken: Vec<(&str, Sample)> = Vec::with_capacity(names.len());
    for name in names {
        let attempts = (0..TEXTS.len()).map(|attempt| {
            let sample = Sample::new(attempt);
            let failed = is_refused::<T>(name, &sample);
            (sample, failed)
        });
        let attempts: Vec<(Sample, bool)> = attempts.collect();
        let first = attempts.first().map(|(sample, _)| (sample.sort.take(), sample.nullable.get()));
        let (sort, nullable) = first.unwrap_or_default();
        arguments.push(Argument { name, sort, nullable, required: !nullable });
        taken.extend(attempts.into_iter().find(|(_, failed)| !failed).map(|(sample, _)| (*name, sample)));
    }
    // Whether a default stands in shows without the name, if everything else is there.
    for argument in &mut arguments {
        let others = taken.iter().filter(|(name, _)| *name != argument.name);
        let mut others = Members::of(others.map(|(name, sample)| (*name, sample)));
        match T::deserialize(&mut others) {
            Ok(_) => argument.required = false,
            Err(mistake) if mistake.missing == Some(argument.name) => argument.required = true,
            Err(_) => {}
        }
    }
    Some(arguments)
}

/// Is it the sample itself that the type does not take?
fn is_refused<T: DeserializeOwned>(name: &str, sample: &Sample) -> bool {
    let mut alone = Members::of([(name, sample)]);
    T::deserialize(&mut alone).is_err() && alone.failed
}

/// A value that a type may take. Remembers what it was asked to be.
struct Sample {
    attempt: usize,
    sort: Cell<Sort>,
    nullable: Cell<bool>,
}

impl Sample {
    fn new(attempt: usize) -> Self {
        Self { attempt, sort: Cell::default(), nullable: Cell::default() }
    }

    fn number(&self) -> u8 {
        u8::from(self.attempt > 0)
    }
}

macro_rules! samples {
    ($($function:ident $type:ty),*) => {
        $(fn $function<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
            self.sort.set(Sort::Integer {
                min: i64::try_from(<$type>::MIN).unwrap_or(i64::MIN),
                max: i64::try_from(<$type>::MAX).unwrap_or(i64::MAX),
            });
            visitor.visit_u8(self.number())
        })*
    };
}

impl<'de> Deserializer<'de> for &Sample {
    type Error = Mistake;

    samples!(
        deserialize_i8 i8,
        deserialize_i16 i16,
        deserialize_i32 i32,
        deserialize_i64 i64,
        deserialize_i128 i128,
        deserialize_u8 u8,
        deserialize_u16 u16,
        deserialize_u32 u32,
        deserialize_u64 u64,
        deserialize_u128 u128
    );

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.sort.set(Sort::Bool);
        visitor.visit_bool(self.attempt > 0)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.sort.set(Sort::Number);
        visitor.visit_f64(self.number().into())
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.sort.set(Sort::Text);
        visitor.visit_str(TEXTS.get(self.attempt).copied().unwrap_or_default())
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_byte_buf(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.sort.set(Sort::Text);
        visitor.visit_byte_buf(Vec::new())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.nullable.set(true);
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.nullable.set(true);
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_tuple(1, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Mistake> {
        let item = Sample::new(self.attempt);
        let visited = visitor.visit_seq(Items((0..len).map(|_| &item)));
        self.sort.set(Sort::List(Box::new(item.sort.take())));
        visited
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_struct("", &[], visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.sort.set(Sort::Object);
        let inner = Sample::new(self.attempt);
        Members::of(fields.iter().map(|name| (*name, &inner))).deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.sort.set(Sort::Choice(variants));
        let variant: StrDeserializer<'_, Mistake> =
            variants.get(self.attempt).copied().unwrap_or_default().into_deserializer();
        visitor.visit_enum(variant)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_unit()
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.nullable.set(true);
        visitor.visit_unit()
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::types::{Decimal, Uuid};

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Colour {
        Red,
        Blue,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase")]
    struct Everything {
        topic_id: i32,
        small: u8,
        big: Option<u64>,
        name: String,
        #[serde(default)]
        loud: bool,
        ratio: f64,
        colour: Colour,
        id: Uuid,
        #[serde(default = "two")]
        amount: Decimal,
        names: Vec<String>,
        pair: (i32, i32),
        inner: Inner,
        any: Json,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Inner {
        at: i64,
    }

    fn two() -> Decimal {
        "2.00".parse().expect("a number")
    }

    fn object(json: Json) -> Map<String, Json> {
        match json {
            Json::Object(members) => members,
            other => panic!("{other} is no object"),
        }
    }

    fn whole() -> Json {
        json!({
            "topicId": 7, "small": 8.0, "big": null, "name": "x", "ratio": 1, "colour": "blue",
            "id": "67e55044-10b1-426f-9247-bb680e5fe0c8", "names": ["a"], "pair": [1, 2], "inner": {"at": 3},
            "any": {"x": [1.5]},
        })
    }

    #[test]
    fn what_a_type_takes_is_found_out() {
        let found = describe::<Everything>().expect("its fields");
        let integer = |min, max| Sort::Integer { min, max };
        let expected = [
            ("topicId", integer(i32::MIN.into(), i32::MAX.into()), false, true),
            ("small", integer(0, 255), false, true),
            ("big", integer(0, i64::MAX), true, false),
            ("name", Sort::Text, false, true),
            ("loud", Sort::Bool, false, false),
            ("ratio", Sort::Number, false, true),
            ("colour", Sort::Choice(&["red", "blue"]), false, true),
            ("id", Sort::Text, false, true),
            ("amount", Sort::Text, false, false),
            ("names", Sort::List(Box::new(Sort::Text)), false, true),
            ("pair", Sort::List(Box::new(integer(i32::MIN.into(), i32::MAX.into()))), false, true),
            ("inner", Sort::Object, false, true),
            ("any", Sort::Any, true, true),
        ];
        let expected =
            expected.map(|(name, sort, nullable, required)| Argument { name, sort, nullable, required });
        assert_eq!(found, expected);
        assert_eq!(describe::<NoArguments>(), Some(Vec::new()));
        assert_eq!(describe::<()>(), Some(Vec::new()));
        assert_eq!(describe::<std::collections::HashMap<String, i32>>(), None);
    }

    #[test]
    fn arguments_are_read_as_payloads_are() {
        let read = read::<Everything>(&object(whole())).expect("they are right");
        let Everything { topic_id, small, loud, amount, inner, any, .. } = read;
        assert_eq!((topic_id, small, loud, amount, inner.at), (7, 8, false, two(), 3));
        assert_eq!(any, json!({"x": [1.5]}));
    }

    /// Each member by itself, and all of them at once.
    #[test]
    fn all_mistakes_are_told_by_name() {
        let cases = [
            ("topicId", json!("7"), "A valid integer is required."),
            ("topicId", json!(1.5), "A valid integer is required."),
            ("topicId", Json::Null, "This field may not be null."),
            ("topicId", json!(3_000_000_000_i64), "Ensure this value is less than or equal to 2147483647."),
            ("small", json!(-1), "Ensure this value is greater than or equal to 0."),
            ("big", json!("x"), "A valid integer is required."),
            ("name", json!(1), "Not a valid string."),
            ("name", json!("\0"), "Null characters are not allowed."),
            ("loud", json!("true"), "Must be a valid boolean."),
            ("ratio", json!([]), "A valid number is required."),
            ("colour", json!("green"), "\"green\" is not a valid choice; the choices are red, blue."),
            ("colour", json!(1), "1 is not a valid choice; the choices are red, blue."),
            ("names", json!("a"), "A list is required."),
            ("names", json!([1]), "Not a valid string."),
            ("pair", json!([1]), "A list of 2 values is required."),
            ("inner", json!(1), "An object is required."),
            ("inner", json!({}), "at: This field is required."),
            ("inner", json!({"at": 1, "x": 1}), "\"x\": Unknown field; the fields are at."),
        ];
        for (name, value, message) in &cases {
            let mut payload = object(whole());
            payload.insert((*name).to_owned(), value.clone());
            let error = read::<Everything>(&payload).expect_err(name);
            assert_eq!(error.status(), 400);
            let told: Vec<_> = error.errors().iter().collect();
            assert_eq!(told, [(&(*name).to_owned(), &vec![(*message).to_owned()])], "{name} {value}");
        }
        let mut payload = object(whole());
        for (name, value, _) in cases {
            payload.insert(name.to_owned(), value);
        }
        payload.remove("any");
        payload.insert("what".to_owned(), json!(1));
        let error = read::<Everything>(&payload).expect_err("all of them");
        let told: Vec<&str> = error.errors().keys().map(String::as_str).collect();
        let expected = [
            "any", "big", "colour", "inner", "loud", "name", "names", "pair", "ratio", "small", "topicId",
            "what",
        ];
        assert_eq!(told, expected);
        assert_eq!(error.errors()["any"], ["This field is required."]);
        let error = read::<NoArguments>(&object(json!({"x": 1}))).expect_err("an argument");
        assert_eq!(error.errors()["x"], ["Unknown field; there are none."]);
    }
}
