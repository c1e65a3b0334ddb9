//! UUIDs as fields.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use diesel::deserialize::FromSqlRow;
use diesel::expression::AsExpression;
#[cfg(feature = "sqlite")]
use diesel::{
    deserialize::{self, FromSql},
    serialize::{self, IsNull, Output, ToSql},
    sqlite::{Sqlite, SqliteType, SqliteValue},
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

/// Other programs may store any spelling, or the sixteen bytes.
#[cfg(feature = "sqlite")]
impl FromSql<sql::Uuid, Sqlite> for Uuid {
    fn from_sql(mut value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        if matches!(value.value_type(), Some(SqliteType::Binary)) {
            let bytes = value.read_blob();
            return match ::uuid::Uuid::from_slice(bytes) {
                Ok(uuid) => Ok(Self(uuid)),
                Err(_) => Ok(Self(::uuid::Uuid::try_parse_ascii(bytes)?)),
            };
        }
        Ok(value.read_text().parse()?)
    }
}

#[cfg(feature = "sqlite")]
impl ToSql<sql::Uuid, Sqlite> for Uuid {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.to_string());
        Ok(IsNull::No)
    }
}
