//! Writing rows.

use super::{Dialect, NotOfItsType, Statement, Table};
use crate::value::Value;

/// Inserts a row and returns its key.
pub(crate) fn insert<DB: Dialect>(
    table: &Table<DB>,
    values: &[(usize, Value<'static>)],
) -> Result<Statement<DB>, NotOfItsType> {
    let mut statement = Statement::new("INSERT INTO ");
    statement.identifier(table.descriptor.table);
    if values.is_empty() {
        statement.sql(" DEFAULT VALUES");
    } else {
        for (at, (field, _)) in values.iter().enumerate() {
            statement.sql(if at == 0 { " (" } else { ", " });
            table.write_column(&mut statement, *field);
        }
        for (at, (field, value)) in values.iter().enumerate() {
            statement.sql(if at == 0 { ") VALUES (" } else { ", " });
            table.write_value(&mut statement, *field, value)?;
        }
        statement.sql(")");
    }
    // The whole row, though only its key is used: one decoder serves every statement.
    statement.sql(" RETURNING ");
    table.write_columns(&mut statement);
    Ok(statement)
}

/// Sets fields of the row with a key.
pub(crate) fn update<DB: Dialect>(
    table: &Table<DB>,
    key: &Value<'static>,
    values: &[(usize, Value<'static>)],
) -> Result<Statement<DB>, NotOfItsType> {
    let mut statement = Statement::new("UPDATE ");
    statement.identifier(table.descriptor.table).sql(" SET ");
    for (at, (field, value)) in values.iter().enumerate() {
        if at > 0 {
            statement.sql(", ");
        }
        table.write_column(&mut statement, *field);
        statement.sql(" = ");
        table.write_value(&mut statement, *field, value)?;
    }
    write_key(&mut statement, table, key)?;
    Ok(statement)
}

/// Removes the row with a key.
pub(crate) fn delete<DB: Dialect>(
    table: &Table<DB>,
    key: &Value<'static>,
) -> Result<Statement<DB>, NotOfItsType> {
    let mut statement = Statement::new("DELETE FROM ");
    statement.identifier(table.descriptor.table);
    write_key(&mut statement, table, key)?;
    Ok(statement)
}

fn write_key<DB: Dialect>(
    statement: &mut Statement<DB>,
    table: &Table<DB>,
    key: &Value<'static>,
) -> Result<(), NotOfItsType> {
    statement.sql(" WHERE ");
    DB::write_key_condition(statement, table, key)
}
