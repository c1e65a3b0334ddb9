//! The Rust types a model's fields may have, and what the framework needs to know of each.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use serde::de::value::{Error as DeError, StrDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::ser::{Impossible, Serialize, Serializer};

use crate::value::Value;

/// What sort of value a field holds. Nullability is told apart from it.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `bool`
    Bool,
    /// An integer with the smallest and the greatest value of its column.
    Integer {
        /// Smallest value of the type.
        min: i64,
        /// Greatest value of the type.
        max: i64,
    },
    /// `f64`
    Float,
    /// `String`
    Text,
    /// `DateTime<Utc>`
    Timestamp,
    /// `NaiveDateTime`: a timestamp in UTC whose column does not say so.
    NaiveTimestamp,
    /// `NaiveDate`
    Date,
    /// `NaiveTime`
    Time,
    /// `Vec<u8>`
    Bytes,
    /// An enum of unit variants, with the function that lists their names on the wire.
    Enum(fn() -> &'static [&'static str]),
    /// [`types::Uuid`](crate::types::Uuid)
    Uuid,
    /// [`types::Decimal`](crate::types::Decimal)
    Decimal,
    /// `serde_json::Value`
    Json,
}

impl Kind {
    /// The name of the kind in metadata and error texts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "boolean",
            Self::Integer { .. } => "integer",
            Self::Float => "float",
            Self::Text => "string",
            Self::Timestamp | Self::NaiveTimestamp => "datetime",
            Self::Date => "date",
            Self::Time => "time",
            Self::Bytes => "bytes",
            Self::Enum(_) => "choice",
            Self::Uuid => "uuid",
            Self::Decimal => "decimal",
            Self::Json => "json",
        }
    }

    /// Is the kind JSON? Then `null` is a value, its values have no order, and what lies in them can be asked for.
    pub const fn is_json(self) -> bool {
        if matches!(self, Self::Json) {
            return true;
        }
        false
    }
}

/// A type that a field of a resource may have.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a type that a field of a realtime resource can have",
    label = "not a field type",
    note = "field types are i8 to i64, u8 to u64, f64, bool, String, Vec<u8>, chrono's DateTime<Utc>, NaiveDateTime, NaiveDate and NaiveTime, realtime's types::Uuid and types::Decimal, serde_json::Value, Option of one of them, and enums with `#[derive(RealtimeEnum)]`",
    note = "a field that clients shall not see can be left out with `#[realtime(skip)]`"
)]
pub trait Field: Sized + Send + Sync + 'static {
    /// What sort of value the type holds.
    const KIND: Kind;
    /// May the value be `NULL`?
    const NULLABLE: bool = false;
    /// The type without its `Option`, where it has one.
    type Plain: Field;

    /// The value, borrowed where it is text.
    fn to_value(&self) -> Value<'_>;

    /// The type's own form of a value; `None` where the value is not one of the type.
    fn from_value(value: Value<'_>) -> Option<Self>;
}

impl Field for bool {
    const KIND: Kind = Kind::Bool;
    type Plain = Self;
    fn to_value(&self) -> Value<'_> {
        Value::Bool(*self)
    }
    fn from_value(value: Value<'_>) -> Option<Self> {
        if let Value::Bool(value) = value { Some(value) } else { None }
    }
}

impl Field for i32 {
    const KIND: Kind = Kind::Integer { min: Self::MIN as i64, max: Self::MAX as i64 };
    type Plain = Self;
    fn to_value(&self) -> Value<'_> {
        Value::Int(i64::from(*self))
    }
    fn from_value(value: Value<'_>) -> Option<Self> {
        if let Value::Int(value) = value { value.try_into().ok() } else { None }
    }
}

impl Field for i64 {
    const KIND: Kind = Kind::Integer { min: Self::MIN, max: Self::MAX };
    type Plain = Self;
    fn to_value(&self) -> Value<'_> {
        Value::Int(*self)
    }
    fn from_value(value: Value<'_>) -> Option<Self> {
        if let Value::Int(value) = value { Some(value) } else { None }
    }
}

impl Field for f64 {
    const KIND: Kind = Kind::Float;
    type Plain = Self;
    fn to_value(&self) -> Value<'_> {
        Value::Float(*self)
    }
    fn from_value(value: Value<'_>) -> Option<Self> {
        if let Value::Float(value) = value { Some(value) } else { None }
    }
}

impl Field for String {
    const KIND: Kind = Kind::Text;
    type Plain = Self;
    fn to_value(&self) -> Value<'_> {
        Value::Text(Cow::Borrowed(self))
    }
    fn from_value(value: Value<'_>) -> Option<Self> {
        if let Value::Text(value) = value { Some(value.into_owned()) } else { None }
    }
}

impl Field for DateTime<Utc> {
    const KIND: Kind = Kind::Timestamp;
    type Plain = Self;
    fn to_value(&self) -> Value<'_> {
        Value::Timestamp(*self)
    }
    fn from_value(value: Value<'_>) -> Option<Self> {
        if let Value::Timestamp(value) = value { Some(value) } else { None }
    }
}

impl Field for crate::types::UtcTimestamp {
    const KIND: Kind = Kind::Timestamp;
    type Plain = Self;
    fn to_value(&self) -> Value<'_> {
        Value::Timestamp(self.0)
    }
    fn from_value(value: Value<'_>) -> Option<Self> {
        if let Value::Timestamp(value) = value { Some(Self(value)) } else { None }
    }
}

impl Field for i16 {
    const KIND: Kind = Kind::Integer { min: Self::MIN as i64, max: Self::MAX as i64 };
    type Plain = Self;
    fn to_value(&self) -> Value<'_> {
        Value::Int(i64::from(*self))
    }
    fn from_value(value: Value<'_>) -> Option<Self> {
        if let Value::Int(value) = value { value.try_into().ok() } else { None }
    }
}

impl Field for NaiveDateTime {
    const KIND: Kind = Kind::NaiveTimestamp;
    type Plain = Self;
    fn to_value(&self) -> Value<'_> {
        Value::Timestamp(self.and_utc())
    }
    fn from_value(value: Value<'_>) -> Option<Self> {
        if let Value::Timestamp(value) = value { Some(value.naive_utc()) } else { None }
    }
}

impl Field for NaiveDate {
    const KIND: Kind = Kind::Date;
    type Plain = Self;
    fn to_value(&self) -> Value<'_> {
        Value::Date(*self)
    }
    fn from_value(value: Value<'_>) -> Option<Self> {
        if let Value::Date(value) = value { Some(value) } else { None }
    }
}

impl Field for NaiveTime {
    const KIND: Kind = Kind::Time;
    type Plain = Self;
    fn to_value(&self) -> Value<'_> {
        Value::Time(*self)
    }
    fn from_value(value: Value<'_>) -> Option<Self> {
        if let Value::Time(value) = value { Some(value) } else { None }
    }
}

impl Field for Vec<u8> {
    const KIND: Kind = Kind::Bytes;
    type Plain = Self;
    fn to_value(&self) -> Value<'_> {
        Value::Bytes(Cow::Borrowed(self))
    }
    fn from_value(value: Value<'_>) -> Option<Self> {
        if let Value::Bytes(value) = value { Some(value.into_owned()) } else { None }
    }
}

impl Field for crate::types::Uuid {
    const KIND: Kind = Kind::Uuid;
    type Plain = Self;
    fn to_value(&self) -> Value<'_> {
        Value::Uuid(self.0)
    }
    fn from_value(value: Value<'_>) -> Option<Self> {
        if let Value::Uuid(value) = value { Some(Self(value)) } else { None }
    }
}

impl Field for crate::types::Decimal {
    const KIND: Kind = Kind::Decimal;
    type Plain = Self;
    fn to_value(&self) -> Value<'_> {
        Value::Decimal(self.without_negative_zero())
    }
    fn from_value(value: Value<'_>) -> Option<Self> {
        if let Value::Decimal(value) = value { Some(Self(value)) } else { None }
    }
}

impl Field for serde_json::Value {
    const KIND: Kind = Kind::Json;
    type Plain = Self;
    fn to_value(&self) -> Value<'_> {
        Value::Json(Cow::Borrowed(self))
    }
    fn from_value(value: Value<'_>) -> Option<Self> {
        if let Value::Json(value) = value { Some(value.into_owned()) } else { None }
    }
}

impl<T: Field> Field for Option<T> {
    const KIND: Kind = T::KIND;
    const NULLABLE: bool = true;
    type Plain = T::Plain;
    fn to_value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, T::to_value)
    }
    fn from_value(value: Value<'_>) -> Option<Self> {
        if value.is_null() { Some(None) } else { T::from_value(value).map(Some) }
    }
}

/// An enum of unit variants that is stored in one column and written by serde as the name of its variant.
///
/// Implemented by `#[derive(RealtimeEnum)]`. The names are those that serde uses, renames included.
pub trait FieldEnum: Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T: FieldEnum> Field for T {
    const KIND: Kind = Kind::Enum(variant_names::<T>);
    type Plain = Self;

    fn to_value(&self) -> Value<'_> {
        self.serialize(VariantName).map_or(Value::Null, |name| Value::Text(Cow::Borrowed(name)))
    }

    fn from_value(value: Value<'_>) -> Option<Self> {
        let Value::Text(name) = value else { return None };
        variant_of_name(&name).ok()
    }
}

/// What is stored of a value: the name of its variant.
///
/// # Errors
/// Where serde writes something else.
pub fn name_of_variant<T: FieldEnum>(
    value: &T,
) -> Result<&'static str, Box<dyn std::error::Error + Send + Sync>> {
    Ok(value.serialize(VariantName)?)
}

/// The value of whose variant a name is.
///
/// # Errors
/// Where it is that of none.
pub fn variant_of_name<T: FieldEnum>(name: &str) -> Result<T, Box<dyn std::error::Error + Send + Sync>> {
    let deserializer: StrDeserializer<'_, DeError> = name.into_deserializer();
    T::deserialize(deserializer)
        .map_err(|_| format!("{name:?} is none of {}", variant_names::<T>().join(", ")).into())
}

/// The names that serde knows an enum's variants by: the list its `Deserialize` hands to the deserializer.
fn variant_names<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // Always an error: the deserializer below has no value to give, it only listens.
    let _ = T::deserialize(VariantList { names: &mut names });
    names
}

struct VariantList<'a> {
    names: &'a mut &'static [&'static str],
}

impl<'de> Deserializer<'de> for VariantList<'_> {
    type Error = DeError;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, DeError> {
        Err(serde::de::Error::custom("not an enum of unit variants"))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, DeError> {
        *self.names = variants;
        Err(serde::de::Error::custom("listed"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// A serializer whose only answer is the name of a unit variant, so that reading an enum's value allocates nothing.
struct VariantName;

#[derive(Debug)]
struct NotAVariant;

impl std::fmt::Display for NotAVariant {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("not a unit variant")
    }
}
impl std::error::Error for NotAVariant {}
impl serde::ser::Error for NotAVariant {
    fn custom<T: std::fmt::Display>(_message: T) -> Self {
        Self
    }
}

macro_rules! refuse {
    ($($method:ident($($argument:ty),*)),* $(,)?) => {
        $(fn $method(self, $(_: $argument),*) -> Result<&'static str, NotAVariant> { Err(NotAVariant) })*
    };
}

type Refused = Impossible<&'static str, NotAVariant>;

impl Serializer for VariantName {
    type Ok = &'static str;
    type Error = NotAVariant;
    type SerializeSeq = Refused;
    type SerializeTuple = Refused;
    type SerializeTupleStruct = Refused;
    type SerializeTupleVariant = Refused;
    type SerializeMap = Refused;
    type SerializeStruct = Refused;
    type SerializeStructVariant = Refused;

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<&'static str, NotAVariant> {
        Ok(variant)
    }

    refuse! {
        serialize_bool(bool), serialize_i8(i8), serialize_i16(i16), serialize_i32(i32), serialize_i64(i64),
        serialize_u8(u8), serialize_u16(u16), serialize_u32(u32), serialize_u64(u64), serialize_f32(f32),
        serialize_f64(f64), serialize_char(char), serialize_str(&str), serialize_bytes(&[u8]), serialize_none(),
        serialize_unit(), serialize_unit_struct(&'static str),
    }

    fn serialize_some<T: ?Sized + Serialize>(self, _value: &T) -> Result<&'static str, NotAVariant> {
        Err(NotAVariant)
    }
    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        _name: &'static str,
        _value: &T,
    ) -> Result<&'static str, NotAVariant> {
        Err(NotAVariant)
    }
    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<&'static str, NotAVariant> {
        Err(NotAVariant)
    }
    fn serialize_seq(self, _len: Option<usize>) -> Result<Refused, NotAVariant> {
        Err(NotAVariant)
    }
    fn serialize_tuple(self, _len: usize) -> Result<Refused, NotAVariant> {
        Err(NotAVariant)
    }
    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Refused, NotAVariant> {
        Err(NotAVariant)
    }
    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Refused, NotAVariant> {
        Err(NotAVariant)
    }
    fn serialize_map(self, _len: Option<usize>) -> Result<Refused, NotAVariant> {
        Err(NotAVariant)
    }
    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Refused, NotAVariant> {
        Err(NotAVariant)
    }
    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Refused, NotAVariant> {
        Err(NotAVariant)
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Colour {
        DeepRed,
        Blue,
    }
    impl FieldEnum for Colour {}

    #[test]
    fn an_enum_is_known_by_the_names_serde_uses() {
        let Kind::Enum(names) = Colour::KIND else { panic!("an enum") };
        assert_eq!(names(), ["deep-red", "blue"]);
        assert!(matches!(Colour::DeepRed.to_value(), Value::Text(Cow::Borrowed("deep-red"))));
        assert_eq!(Colour::from_value(Value::Text("blue".into())), Some(Colour::Blue));
        assert_eq!(Colour::from_value(Value::Text("green".into())), None);
        assert_eq!(Option::<Colour>::from_value(Value::Null), Some(None));
    }
}
