//! A predicate as a condition: what all databases write alike. What differs is asked of the [`Dialect`].

use super::{Dialect, NotOfItsType, Statement, Table};
use crate::filter::{Condition, Predicate};
use crate::part::Part;
use crate::value::Value;

/// What a condition is about: a field, or a part of it.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// The index of the field.
    pub field: usize,
    /// The part that is compared; `None` for the field itself.
    pub part: Option<Part>,
}

impl Subject {
    /// Appends the expression that is compared.
    pub fn write<DB: Dialect>(self, statement: &mut Statement<DB>, table: &Table<DB>) {
        match self.part {
            None => DB::write_comparable(statement, table, self.field),
            Some(part) => DB::write_part(statement, table, self.field, part),
        }
    }

    /// Appends a value to compare with it.
    ///
    /// # Errors
    /// Where the value is not one of the field's type.
    pub fn write_operand<DB: Dialect>(
        self,
        statement: &mut Statement<DB>,
        table: &Table<DB>,
        value: &Value<'static>,
    ) -> Result<(), NotOfItsType> {
        match self.part {
            None => DB::write_operand(statement, table, self.field, value),
            Some(_) => {
                DB::write_part_operand(statement, value);
                Ok(())
            }
        }
    }

    /// Appends its comparison with a value.
    ///
    /// # Errors
    /// Where the value is not one of the field's type.
    pub fn write_comparison<DB: Dialect>(
        self,
        statement: &mut Statement<DB>,
        table: &Table<DB>,
        sign: Sign,
        value: &Value<'static>,
    ) -> Result<(), NotOfItsType> {
        self.write(statement, table);
        statement.sql(sign.sql());
        self.write_operand(statement, table, value)
    }
}

/// One of the signs of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// `>`
    Above,
    /// `>=`
    From,
    /// `<`
    Below,
    /// `<=`
    UpTo,
}

impl Sign {
    /// Spaces on both sides.
    pub const fn sql(self) -> &'static str {
        match self {
            Self::Above => " > ",
            Self::From => " >= ",
            Self::Below => " < ",
            Self::UpTo => " <= ",
        }
    }

    /// Does it ask for what is greater?
    pub const fn is_lower_bound(self) -> bool {
        matches!(self, Self::Above | Self::From)
    }
}

/// Appends a predicate for a conjunction or a disjunction of a `WHERE`, where `NULL` is as good as false. A negated one
/// is never `NULL`. One that the database cannot decide lets every row through.
pub(crate) fn write_predicate<DB: Dialect>(
    statement: &mut Statement<DB>,
    table: &Table<DB>,
    predicate: &Predicate,
) -> Result<(), NotOfItsType> {
    if !DB::decides(&predicate.condition) {
        statement.sql("1 = 1");
        return Ok(());
    }
    // A `NULL` is not selected, its negation is. What is not negated is left bare: behind `IS TRUE` SQLite would look
    // into no index, not even for the key.
    statement.sql(if predicate.negated { "((" } else { "(" });
    let subject = Subject { field: predicate.field, part: predicate.part };
    write_condition(statement, table, subject, &predicate.condition)?;
    statement.sql(if predicate.negated { ") IS NOT TRUE)" } else { ")" });
    Ok(())
}

fn write_condition<DB: Dialect>(
    statement: &mut Statement<DB>,
    table: &Table<DB>,
    subject: Subject,
    condition: &Condition,
) -> Result<(), NotOfItsType> {
    match condition {
        // The parts of what is not `NULL` are not `NULL` either.
        Condition::IsNull(yes) => {
            table.write_column(statement, subject.field);
            statement.sql(if *yes { " IS NULL" } else { " IS NOT NULL" });
        }
        Condition::OneOf(values) => {
            let storable: Vec<&Value<'static>> = values.iter().filter(|value| DB::can_hold(value)).collect();
            DB::write_one_of(statement, table, subject, &storable)?;
        }
        Condition::Between { lower, upper } => {
            let bounds = [(lower, [Sign::Above, Sign::From]), (upper, [Sign::Below, Sign::UpTo])];
            let bounds = bounds.iter().filter_map(|(bound, signs)| Some((bound.as_ref()?, signs)));
            for (at, ((value, included), signs)) in bounds.enumerate() {
                if at > 0 {
                    statement.sql(" AND ");
                }
                DB::write_bound(statement, table, subject, signs[usize::from(*included)], value)?;
            }
        }
        Condition::Text(how, pattern) => DB::write_text_match(statement, table, subject.field, *how, pattern),
        Condition::Regex(regex) => DB::write_regex(statement, table, subject.field, regex),
        Condition::Path(path) => DB::write_path(statement, table, subject.field, path),
    }
    Ok(())
}
