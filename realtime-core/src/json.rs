//! JSON from a client, in which a name that an object has twice is not lost.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value as Json};

use crate::error::shown;

/// Reads JSON from a client, and a sentence about the first name that some object has twice. Of such a pair JSON itself
/// says nothing, so that each reader would make something else of it.
///
/// # Errors
/// Where it is not JSON.
pub fn read(bytes: &[u8]) -> serde_json::Result<(Json, Option<String>)> {
    let mut twice = None;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let json = Reader { twice: &mut twice }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    let said = twice.map(|name| format!("The name {} is given twice in one object.", shown(&name)));
    Ok((json, said))
}

struct Reader<'a> {
    twice: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::String(value))
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_none<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        Deserialize::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(Reader { twice: self.twice })? {
            list.push(element);
        }
        Ok(Json::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(Reader { twice: self.twice })?;
            if self.twice.is_none() && object.contains_key(&name) {
                *self.twice = Some(name.clone());
            }
            object.insert(name, value);
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_serde_json_reads() {
        for text in [
            "null",
            "true",
            "-0",
            "0",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775808",
            "1.0",
            "-0.0",
            "5e-324",
            "\"\\ud83d\\ude00é\"",
            "[]",
            "[1,[2,{}]]",
            "{\"a\":{\"b\":[null,\"c\"]},\"d\":1}",
        ] {
            let (json, twice) = read(text.as_bytes()).expect("JSON");
            assert_eq!((json, twice), (serde_json::from_str::<Json>(text).expect("JSON"), None), "{text}");
        }
        for text in ["", "{", "1 2", "[1,]", "\u{feff}1", "\"\\ud800\"", "1e999", &"[".repeat(200)] {
            assert_eq!(read(text.as_bytes()).is_err(), serde_json::from_str::<Json>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_that_is_given_twice_is_told() {
        for (text, expected) in [
            (r#"{"a":1,"b":{"a":2}}"#, None),
            (r#"{"a":1,"a":1}"#, Some("a")),
            (r#"{"a":1,"\u0061":2}"#, Some("a")),
            (r#"[{"x":[{"b":1,"c":2,"b":3}]},{"d":1,"d":2}]"#, Some("b")),
        ] {
            let said = read(text.as_bytes()).expect("JSON").1;
            let expected =
                expected.map(|name: &str| format!("The name {name:?} is given twice in one object."));
            assert_eq!(said, expected, "{text}");
        }
    }
}
