//! PostgreSQL.

use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Text};

use super::{Dialect, NotOfItsType, Statement, Table};
use crate::filter::{Condition, Predicate};
use crate::value::Value;

impl Dialect for Pg {
    fn write_predicate(
        statement: &mut Statement<Self>,
        table: &Table<Self>,
        predicate: &Predicate,
    ) -> Result<(), NotOfItsType> {
        let field = predicate.field;
        statement.sql(if predicate.negated { "((" } else { "(" });
        match &predicate.condition {
            Condition::IsNull(yes) => {
                table.write_column(statement, field);
                statement.sql(if *yes { " IS NULL" } else { " IS NOT NULL" });
            }
            Condition::OneOf(values) => {
                Self::write_comparable(statement, table, field);
                statement.sql(" IN (NULL");
                for value in values {
                    statement.sql(", ");
                    Self::write_operand(statement, table, field, value)?;
                }
                statement.sql(")");
            }
            Condition::Between { lower, upper } => {
                statement.sql("1 = 1");
                for (bound, signs) in [(lower, [" > ", " >= "]), (upper, [" < ", " <= "])] {
                    let Some((value, included)) = bound else { continue };
                    statement.sql(" AND ");
                    Self::write_comparable(statement, table, field);
                    statement.sql(signs[usize::from(*included)]);
                    Self::write_operand(statement, table, field, value)?;
                }
            }
            Condition::Text(_, pattern) => {
                statement.sql("strpos(");
                table.write_column(statement, field);
                statement.sql(", ").bind::<Text, _>(pattern.clone()).sql(") > 0");
            }
            Condition::Regex(_) | Condition::Path(_) => {
                statement.sql("1 = 0");
            }
        }
        statement.sql(if predicate.negated { ") IS NOT TRUE)" } else { ")" });
        Ok(())
    }

    fn write_comparable(statement: &mut Statement<Self>, table: &Table<Self>, field: usize) {
        table.write_column(statement, field);
    }

    fn write_operand(
        statement: &mut Statement<Self>,
        table: &Table<Self>,
        field: usize,
        value: &Value<'static>,
    ) -> Result<(), NotOfItsType> {
        table.write_value(statement, field, value)
    }

    fn write_number(statement: &mut Statement<Self>, number: i64) {
        statement.bind::<BigInt, _>(number);
    }
}
