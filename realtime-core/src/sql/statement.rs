//! A statement put together at run time that still goes through Diesel.

use std::borrow::Cow;

use diesel::backend::Backend;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::serialize::ToSql;
use diesel::sql_types::{HasSqlType, Untyped};

use crate::__private::Typed;
use crate::resource::Bind;

enum Part<DB: Backend> {
    Sql(Cow<'static, str>),
    Identifier(Cow<'static, str>),
    Bind(Bind<DB>),
}

/// A statement of SQL text, identifiers that Diesel quotes, and typed binds.
pub struct Statement<DB: Backend> {
    parts: Vec<Part<DB>>,
    cacheable: bool,
}

impl<DB: Backend + 'static> Statement<DB> {
    /// Begins a statement.
    pub fn new(sql: &'static str) -> Self {
        Self { parts: vec![Part::Sql(Cow::Borrowed(sql))], cacheable: true }
    }

    /// Appends SQL text. It is taken as it is: nothing that comes from a client may be in it.
    pub fn sql(&mut self, sql: impl Into<Cow<'static, str>>) -> &mut Self {
        self.parts.push(Part::Sql(sql.into()));
        self
    }

    /// Appends a name, quoted.
    pub fn identifier(&mut self, name: impl Into<Cow<'static, str>>) -> &mut Self {
        self.parts.push(Part::Identifier(name.into()));
        self
    }

    /// Appends a value as a bind of a SQL type.
    pub fn bind<ST, T>(&mut self, value: T) -> &mut Self
    where
        DB: HasSqlType<ST>,
        T: ToSql<ST, DB> + Send + 'static,
        ST: Send + 'static,
    {
        self.parts.push(Part::Bind(Box::new(Typed::<T, ST>::new(value))));
        self
    }

    /// Appends a bind that a resource made.
    pub(crate) fn bind_typed(&mut self, bind: Bind<DB>) -> &mut Self {
        self.parts.push(Part::Bind(bind));
        self
    }

    /// A statement of the application's.
    pub(crate) fn of(fragment: Bind<DB>) -> Self {
        let mut statement = Self { parts: vec![Part::Bind(fragment)], cacheable: true };
        statement.varies();
        statement
    }

    /// Keeps the statement out of the cache: its text depends on the length of a list, and a client chooses it.
    pub(crate) fn varies(&mut self) -> &mut Self {
        self.cacheable = false;
        self
    }
}

impl<DB: Backend> QueryFragment<DB> for Statement<DB> {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        if !self.cacheable {
            pass.unsafe_to_cache_prepared();
        }
        for part in &self.parts {
            match part {
                Part::Sql(sql) => pass.push_sql(sql),
                Part::Identifier(name) => pass.push_identifier(name)?,
                Part::Bind(bind) => bind.walk_ast(pass.reborrow())?,
            }
        }
        Ok(())
    }
}

impl<DB: Backend> QueryId for Statement<DB> {
    type QueryId = ();
    // Diesel then caches by the text, which is right for text put together at run time.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<DB: Backend> Query for Statement<DB> {
    type SqlType = Untyped;
}

impl<DB: Backend, C> diesel::RunQueryDsl<C> for Statement<DB> {}
