//! A statement of the application's, for whichever database the program is started on.

use std::sync::Arc;

use diesel::backend::Backend;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;

#[cfg(any(feature = "sqlite", feature = "postgres"))]
use crate::resource::Bind;

/// A fragment for SQLite: asked for where the feature `sqlite` is on.
#[cfg(feature = "sqlite")]
pub trait OnSqlite: QueryFragment<diesel::sqlite::Sqlite> {}
#[cfg(feature = "sqlite")]
#[diagnostic::do_not_recommend]
impl<Q: QueryFragment<diesel::sqlite::Sqlite>> OnSqlite for Q {}

/// A fragment for SQLite: asked for where the feature `sqlite` is on.
#[cfg(not(feature = "sqlite"))]
pub trait OnSqlite {}
#[cfg(not(feature = "sqlite"))]
impl<Q> OnSqlite for Q {}

/// A fragment for PostgreSQL: asked for where the feature `postgres` is on.
#[cfg(feature = "postgres")]
pub trait OnPostgres: QueryFragment<diesel::pg::Pg> {}
#[cfg(feature = "postgres")]
#[diagnostic::do_not_recommend]
impl<Q: QueryFragment<diesel::pg::Pg>> OnPostgres for Q {}

/// A fragment for PostgreSQL: asked for where the feature `postgres` is on.
#[cfg(not(feature = "postgres"))]
pub trait OnPostgres {}
#[cfg(not(feature = "postgres"))]
impl<Q> OnPostgres for Q {}

/// A statement of Diesel's that every database that is enabled can carry out: `diesel::update(..)`, for instance.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no statement for every database that is enabled",
    note = "the features `sqlite` and `postgres` say which they are; a statement that is for one of them alone belongs into a trigger, or into the application's own transaction"
)]
pub trait DieselStatement: OnSqlite + OnPostgres + Send + Sync + 'static {}
#[diagnostic::do_not_recommend]
impl<Q: OnSqlite + OnPostgres + Send + Sync + 'static> DieselStatement for Q {}

/// One statement in the form of each database.
pub struct AnyStatement {
    #[cfg(feature = "sqlite")]
    pub(super) sqlite: Bind<diesel::sqlite::Sqlite>,
    #[cfg(feature = "postgres")]
    pub(super) postgres: Bind<diesel::pg::Pg>,
}

impl AnyStatement {
    #[cfg_attr(
        not(any(feature = "sqlite", feature = "postgres")),
        expect(unused_variables, reason = "there is no database that it has a form for")
    )]
    pub(crate) fn new(statement: impl DieselStatement) -> Self {
        let statement = Shared(Arc::new(statement));
        Self {
            #[cfg(feature = "sqlite")]
            sqlite: Box::new(Shared(Arc::clone(&statement.0))),
            #[cfg(feature = "postgres")]
            postgres: Box::new(statement),
        }
    }
}

struct Shared<Q>(Arc<Q>);

impl<Q, DB> QueryFragment<DB> for Shared<Q>
where
    DB: Backend,
    Q: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, pass: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.0.walk_ast(pass)
    }
}

impl<Q> QueryId for Shared<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}
