//! UUIDs as fields.

use std::fmt;
#[cfg(feature = "postgres")]
use std::io::Write as _;
use std::ops::Deref;
use std::str::FromStr;

use diesel::deserialize::FromSqlRow;
use diesel::expression::AsExpression;
#[cfg(feature = "postgres")]
use diesel::pg::{Pg, PgValue};
#[cfg(feature = "sqlite")]
use diesel::sqlite::{Sqlite, SqliteType, SqliteValue};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use diesel::{
    deserialize::{self, FromSql},
    serialize::{self, IsNull, Output, ToSql},
    sql_types::Text,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::sql;

/// A UUID. Diesel maps the one of the crate `uuid` on PostgreSQL only, and nobody else may add to that.
///
/// How new ones are made is the application's choice: `on_create = |_| Uuid(uuid::Uuid::now_v7())`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, AsExpression, FromSqlRow)]
#[diesel(sql_type = sql::Uuid)]
pub struct Uuid(pub ::uuid::Uuid);

impl Deref for Uuid {
    type Target = ::uuid::Uuid;

    fn deref(&self) -> &::uuid::Uuid {
        &self.0
    }
}

impl From<::uuid::Uuid> for Uuid {
    fn from(uuid: ::uuid::Uuid) -> Self {
        Self(uuid)
    }
}

impl From<Uuid> for ::uuid::Uuid {
    fn from(uuid: Uuid) -> Self {
        uuid.0
    }
}

/// Hyphenated, in lower case.
impl fmt::Display for Uuid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(formatter)
    }
}

/// Any spelling that the crate `uuid` reads.
impl FromStr for Uuid {
    type Err = ::uuid::Error;

    fn from_str(text: &str) -> Result<Self, ::uuid::Error> {
        text.parse().map(Self)
    }
}

impl Serialize for Uuid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Uuid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What is read is what a row can be found by, with an index: see `stored_forms`.
#[cfg(feature = "sqlite")]
#[derive(Debug, thiserror::Error)]
#[error("a UUID in letters of both cases: it is not found by its key")]
struct MixedCase;

/// Other programs may store it with hyphens or without, in braces or as a URN, in lower or upper case, or the sixteen bytes.
#[cfg(feature = "sqlite")]
impl FromSql<sql::Uuid, Sqlite> for Uuid {
    fn from_sql(mut value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        if matches!(value.value_type(), Some(SqliteType::Binary)) {
            return Ok(Self(::uuid::Uuid::from_slice(value.read_blob())?));
        }
        let text = value.read_text();
        let uuid = text.parse()?;
        let digits = text.strip_prefix("urn:uuid:").unwrap_or(text).as_bytes();
        if digits.iter().any(u8::is_ascii_lowercase) && digits.iter().any(u8::is_ascii_uppercase) {
            return Err(Box::new(MixedCase));
        }
        Ok(uuid)
    }
}

#[cfg(feature = "sqlite")]
impl Uuid {
    /// The texts that SQLite may hold of it: with hyphens or without, in braces or as a URN, each in lower or upper case.
    pub(crate) fn stored_forms(self) -> impl Iterator<Item = String> {
        let (hyphenated, simple) = (self.0.as_hyphenated().to_string(), self.0.as_simple().to_string());
        [hyphenated.to_ascii_uppercase(), hyphenated]
            .into_iter()
            .flat_map(|text| {
                let braced = format!("{{{text}}}");
                let urn = format!("urn:uuid:{text}");
                [text, braced, urn]
            })
            .chain([simple.to_ascii_uppercase(), simple])
    }
}

#[cfg(feature = "sqlite")]
impl ToSql<sql::Uuid, Sqlite> for Uuid {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.to_string());
        Ok(IsNull::No)
    }
}

#[cfg(feature = "sqlite")]
impl FromSql<Text, Sqlite> for Uuid {
    fn from_sql(value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        <Self as FromSql<sql::Uuid, Sqlite>>::from_sql(value)
    }
}

#[cfg(feature = "sqlite")]
impl ToSql<Text, Sqlite> for Uuid {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        <Self as ToSql<sql::Uuid, Sqlite>>::to_sql(self, out)
    }
}

#[cfg(feature = "postgres")]
impl FromSql<sql::Uuid, Pg> for Uuid {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(::uuid::Uuid::from_slice(value.as_bytes())?))
    }
}

#[cfg(feature = "postgres")]
impl ToSql<sql::Uuid, Pg> for Uuid {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(self.0.as_bytes())?;
        Ok(IsNull::No)
    }
}

/// The SQL type that Diesel knows on PostgreSQL only.
#[cfg(feature = "postgres")]
impl FromSql<diesel::sql_types::Uuid, Pg> for Uuid {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        <Self as FromSql<sql::Uuid, Pg>>::from_sql(value)
    }
}

#[cfg(feature = "postgres")]
impl ToSql<diesel::sql_types::Uuid, Pg> for Uuid {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        <Self as ToSql<sql::Uuid, Pg>>::to_sql(self, out)
    }
}

#[cfg(feature = "postgres")]
impl FromSql<Text, Pg> for Uuid {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(::uuid::Uuid::try_parse_ascii(value.as_bytes())?))
    }
}

#[cfg(feature = "postgres")]
impl ToSql<Text, Pg> for Uuid {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        write!(out, "{self}")?;
        Ok(IsNull::No)
    }
}
