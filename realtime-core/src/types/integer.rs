//! Integers that no database has a type for: each in the smallest signed column that holds it.

#[cfg(any(feature = "sqlite", feature = "postgres"))]
use diesel::deserialize::{self, FromSql};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use diesel::serialize::{self, Output, ToSql};

#[cfg(any(feature = "sqlite", feature = "postgres"))]
use super::sql;
use crate::field::{Field, Kind};
use crate::value::Value;

macro_rules! integers {
    ($($integer:ty as $sql:ident in $native:ty, $native_sql:ident;)*) => {$(
        impl Field for $integer {
            #[allow(clippy::cast_possible_wrap, reason = "the greatest value is one that an `i64` has")]
            const KIND: Kind = Kind::Integer {
                min: Self::MIN as i64,
                max: if Self::MAX as u64 > i64::MAX as u64 { i64::MAX } else { Self::MAX as i64 },
            };
            type Plain = Self;
            fn to_value(&self) -> Value<'_> {
                // A `u64` beyond is refused in payloads and cannot be stored.
                Value::Int(i64::try_from(*self).unwrap_or(i64::MAX))
            }
            fn from_value(value: Value<'_>) -> Option<Self> {
                if let Value::Int(value) = value { value.try_into().ok() } else { None }
            }
        }

        #[cfg(feature = "sqlite")]
        impl FromSql<sql::$sql, diesel::sqlite::Sqlite> for $integer {
            fn from_sql(
                value: <diesel::sqlite::Sqlite as diesel::backend::Backend>::RawValue<'_>,
            ) -> deserialize::Result<Self> {
                // The widest one: a narrower one would cut what is out of range instead of refusing it.
                let number =
                    <i64 as FromSql<diesel::sql_types::BigInt, diesel::sqlite::Sqlite>>::from_sql(value)?;
                Self::try_from(number).map_err(|_| format!("{number} is no {}", stringify!($integer)).into())
            }
        }

        #[cfg(feature = "sqlite")]
        impl ToSql<sql::$sql, diesel::sqlite::Sqlite> for $integer {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, diesel::sqlite::Sqlite>) -> serialize::Result {
                out.set_value(i64::try_from(*self)?);
                Ok(serialize::IsNull::No)
            }
        }

        #[cfg(feature = "postgres")]
        impl FromSql<sql::$sql, diesel::pg::Pg> for $integer {
            fn from_sql(
                value: <diesel::pg::Pg as diesel::backend::Backend>::RawValue<'_>,
            ) -> deserialize::Result<Self> {
                let number =
                    <$native as FromSql<diesel::sql_types::$native_sql, diesel::pg::Pg>>::from_sql(value)?;
                Self::try_from(number).map_err(|_| format!("{number} is no {}", stringify!($integer)).into())
            }
        }

        #[cfg(feature = "postgres")]
        impl ToSql<sql::$sql, diesel::pg::Pg> for $integer {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, diesel::pg::Pg>) -> serialize::Result {
                let number = <$native>::try_from(*self)?;
                <$native as ToSql<diesel::sql_types::$native_sql, diesel::pg::Pg>>::to_sql(
                    &number,
                    &mut out.reborrow(),
                )
            }
        }
    )*};
}

integers! {
    i8 as I8 in i16, SmallInt;
    u8 as U8 in i16, SmallInt;
    u16 as U16 in i32, Integer;
    u32 as U32 in i64, BigInt;
    u64 as U64 in i64, BigInt;
}
