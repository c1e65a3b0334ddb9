//! One request, whatever it came by: checked and carried out against an open transaction.

use diesel::backend::Backend;
use serde_json::{Map, Value as Json};

use crate::change::ResourceId;
use crate::condition::Condition;
use crate::context::Context;
use crate::draft::Draft;
use crate::error::{Code, Error};
use crate::expand;
use crate::filter::{self, Filter};
use crate::grouping::{self, RowGroupsQuery};
use crate::idempotency::{self, Once};
use crate::list::{ListQuery, Page};
use crate::resource::{Action, Descriptor, Row};
use crate::scan;
use crate::sql::{self, Dialect, NotOfItsType, Statement, Table};
use crate::store::{Find, Local, Store};
use crate::value::Value;
use crate::view::View;

/// What is asked of the database.
#[derive(Clone, Debug)]
pub struct Request {
    /// Of which resource.
    pub resource: ResourceId,
    /// What to do.
    pub operation: Operation,
    /// In which state the object must be for it.
    pub condition: Condition,
    /// Makes a create that is sent once more the same create.
    pub once: Option<Once>,
}

impl Request {
    /// A request without conditions.
    pub fn new(resource: ResourceId, operation: Operation) -> Self {
        Self { resource, operation, condition: Condition::default(), once: None }
    }
}

/// What to do with a resource's rows. A payload is looked at only when the row is known to exist.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Make a row.
    Create(Map<String, Json>),
    /// Change the named fields of a row.
    Update(Value<'static>, Map<String, Json>),
    /// Set all writable fields of a row.
    Replace(Value<'static>, Map<String, Json>),
    /// Remove a row.
    Delete(Value<'static>),
    /// Read a row.
    Retrieve(Value<'static>),
    /// Read a page of rows.
    List(Box<ListQuery>),
    /// Find the row groups that a subscription is about.
    FindRowGroups(Box<RowGroupsQuery>),
}

impl Operation {
    /// The action that the operation carries out.
    pub fn action(&self) -> Action {
        match self {
            Self::Create(_) => Action::Create,
            Self::Update(..) => Action::Update,
            Self::Replace(..) => Action::Replace,
            Self::Delete(_) => Action::Delete,
            Self::Retrieve(_) => Action::Retrieve,
            Self::List(_) => Action::List,
            Self::FindRowGroups(_) => Action::Subscribe,
        }
    }
}

/// What a request came to.
#[derive(Clone)]
pub enum Outcome {
    /// The row that was made.
    Created(Row),
    /// The row was made before by the same request: the object as it was answered then.
    CreatedBefore(String),
    /// The row as it is now.
    Object(Row),
    /// The row is gone.
    Deleted,
    /// A page of rows.
    Page(Page),
    /// What selects the row groups.
    RowGroups(Filter),
}

/// A foreign key of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// The column that refers.
    pub column: String,
    /// The table that it refers to.
    pub table: String,
    /// The column that it refers to.
    pub referenced: String,
}

/// Why a statement failed.
#[derive(Debug)]
pub enum Failure {
    /// A value that is unique exists already; the columns, where the database names them.
    Unique(Vec<String>),
    /// A row that is referred to does not exist, or one that is removed is still referred to.
    ForeignKey,
    /// A column may not be `NULL`.
    NotNull(Option<String>),
    /// A check of the database refuses the row.
    Check,
    /// The database cannot be asked at present.
    Unavailable(Box<dyn std::error::Error + Send + Sync>),
    /// Anything else: a fault of the server.
    Fault(Box<dyn std::error::Error + Send + Sync>),
}

/// An open transaction of one backend. The only thing that actions ask of a database.
///
/// The functions are asynchronous so that one code serves a driver that is and one that is not.
#[expect(async_fn_in_trait, reason = "callers are generic over the transaction, never over its futures")]
pub trait Transaction {
    /// Its backend.
    type Backend: Dialect;

    /// Runs a statement and decodes the rows of a table, whose fields it returns in their order.
    async fn rows(
        &mut self,
        table: &Table<Self::Backend>,
        statement: Statement<Self::Backend>,
    ) -> Result<Vec<Row>, Failure>;

    /// Runs a statement that answers one number.
    async fn number(&mut self, statement: Statement<Self::Backend>) -> Result<i64, Failure>;

    /// Runs a statement that answers texts.
    async fn texts(&mut self, statement: Statement<Self::Backend>) -> Result<Vec<String>, Failure>;

    /// Runs a statement that answers nothing.
    async fn execute(&mut self, statement: Statement<Self::Backend>) -> Result<(), Failure>;

    /// The foreign keys of a table.
    async fn foreign_keys(&mut self, table: &str) -> Result<Vec<ForeignKey>, Failure>;
}

/// How an action ends without an outcome: the caller's fault, or the server's.
#[derive(Debug)]
pub enum Refusal {
    /// Answered to the caller.
    Refused(Error),
    /// Logged; the caller learns no more than that.
    Fault(Box<dyn std::error::Error + Send + Sync>),
    /// Logged; the caller is told to come again.
    Unavailable(Box<dyn std::error::Error + Send + Sync>),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<NotOfItsType> for Refusal {
    fn from(error: NotOfItsType) -> Self {
        Self::Fault(Box::new(error))
    }
}

/// Carries out an operation.
///
/// The order of checks is the protocol's: the row must exist before its payload is looked at.
///
/// # Errors
/// See [`Refusal`]. The transaction must then be rolled back.
pub async fn run<T: Transaction>(
    transaction: &mut T,
    tables: &[Table<T::Backend>],
    request: &Request,
    context: &Context<'_>,
) -> Result<Outcome, Refusal> {
    let operation = &request.operation;
    let table = tables.get(request.resource.0).ok_or_else(|| fault("a request is of no resource"))?;
    let descriptor = table.descriptor();
    let action = operation.action();
    descriptor.rules.admit(context.principal, action)?;
    match operation {
        Operation::Create(payload) => {
            request.condition.check_absent()?;
            let Some(once) = &request.once else {
                return create(transaction, (tables, table), payload, context).await;
            };
            if let Some(object) = idempotency::begin(transaction, table, once, payload, context).await? {
                return Ok(Outcome::CreatedBefore(object));
            }
            let created = create(transaction, (tables, table), payload, context).await?;
            if let Outcome::Created(row) = &created {
                let object = crate::encode::object(descriptor.seen_by(context.principal), row.as_ref());
                idempotency::finish(transaction, table, once, &object, context).await?;
            }
            Ok(created)
        }
        Operation::Update(key, payload) => {
            let before = existing(transaction, table, key, action, context).await?;
            meets(request, descriptor, &before, context)?;
            let draft = read_payload(descriptor.seen_by(context.principal), payload);
            change(transaction, (tables, table), key, &before, draft?, context).await
        }
        Operation::Replace(key, payload) => {
            let before = existing(transaction, table, key, action, context).await?;
            meets(request, descriptor, &before, context)?;
            let draft = replacement(table, payload, context);
            change(transaction, (tables, table), key, &before, draft?, context).await
        }
        Operation::Delete(key) => {
            let before = existing(transaction, table, key, action, context).await?;
            meets(request, descriptor, &before, context)?;
            let deleted = transaction.execute(sql::delete(table, key)?).await;
            match deleted {
                Ok(()) => Ok(Outcome::Deleted),
                Err(Failure::ForeignKey) => {
                    Err(Error::new(Code::Conflict, "Other objects still refer to this one.").into())
                }
                Err(failure) => Err(other_failure(&descriptor.seen_by(context.principal), failure)),
            }
        }
        Operation::Retrieve(key) => {
            Ok(Outcome::Object(existing(transaction, table, key, action, context).await?))
        }
        Operation::List(query) => {
            let visible = descriptor.rules.visible(context.principal);
            let mut query = query.as_ref().clone();
            if let Some(key) = query.row_beside() {
                let row = find(transaction, table, key, &visible, false).await?;
                query = query.beside(row.as_deref())?;
            }
            let query = query.seen_by(descriptor, context.principal);
            let mut page = scan::page(transaction, (tables, table), &query).await?;
            for relation in &query.expand {
                let expanded = expand::read(transaction, tables, relation, &page, context).await?;
                page.expanded.push(expanded);
            }
            Ok(Outcome::Page(page))
        }
        Operation::FindRowGroups(query) => {
            let visible = descriptor.rules.visible(context.principal);
            Ok(Outcome::RowGroups(grouping::find(transaction, table, query, visible).await?))
        }
    }
}

/// Is the object, as the caller is shown it, in the state that he asks for?
fn meets(request: &Request, descriptor: &Descriptor, row: &Row, context: &Context<'_>) -> Result<(), Error> {
    request.condition.check(|| crate::encode::object(descriptor.seen_by(context.principal), row.as_ref()))
}

/// The row that an action is about: one that exists for the caller, and on which he may carry it out.
async fn existing<T: Transaction>(
    transaction: &mut T,
    table: &Table<T::Backend>,
    key: &Value<'static>,
    action: Action,
    context: &Context<'_>,
) -> Result<Row, Refusal> {
    let rules = &table.descriptor().rules;
    // Who is going to change it keeps others from removing it meanwhile.
    let row = find(transaction, table, key, &rules.visible(context.principal), action.writes()).await?;
    let row = row.ok_or_else(Error::not_found)?;
    rules.admit_to(context.principal, action, row.as_ref())?;
    Ok(row)
}

async fn find<T: Transaction>(
    transaction: &mut T,
    table: &Table<T::Backend>,
    key: &Value<'static>,
    among: &Filter,
    lock: bool,
) -> Result<Option<Row>, Refusal> {
    let mut statement = sql::select_by_key(table, key, among)?;
    if lock {
        statement.sql(T::Backend::ROW_LOCK);
    }
    let rows = transaction
        .rows(table, statement)
        .await
        .map_err(|failure| other_failure(&View::from(table.descriptor()), failure))?;
    let decided = sql::decides::<T::Backend>(among);
    Ok(rows.into_iter().next().filter(|row| decided || among.matches(row.as_ref())))
}

async fn create<T: Transaction>(
    transaction: &mut T,
    (tables, table): Place<'_, T::Backend>,
    payload: &Map<String, Json>,
    context: &Context<'_>,
) -> Result<Outcome, Refusal> {
    let descriptor = table.descriptor();
    let mut draft = read_payload(descriptor.seen_by(context.principal), payload)?;
    require(payload, &mut draft);
    for field in 0..descriptor.fields.len() {
        if !draft.holds(field)
            && let Some(value) = table.initial(field, context)?
        {
            draft.put(field, value);
        }
    }
    let values = validated(transaction, (tables, table), draft, None, context).await?;
    let made = match transaction.rows(table, sql::insert(table, &values)?).await {
        Ok(rows) => rows.into_iter().next(),
        Err(failure) => return Err(write_failure(transaction, table, &values, context, failure).await),
    };
    let made = made.ok_or_else(|| fault("an insert returned no row"))?;
    // Triggers of the application may have changed the row since: what is answered is what is stored.
    let key = made.value(descriptor.key).into_owned();
    let stored = find(transaction, table, &key, &Filter::all(), false).await?;
    Ok(Outcome::Created(stored.unwrap_or(made)))
}

async fn change<T: Transaction>(
    transaction: &mut T,
    (tables, table): Place<'_, T::Backend>,
    key: &Value<'static>,
    before: &Row,
    draft: Draft,
    context: &Context<'_>,
) -> Result<Outcome, Refusal> {
    let values = validated(transaction, (tables, table), draft, Some(before), context).await?;
    if values.is_empty() {
        return Ok(Outcome::Object(Row::clone(before)));
    }
    if let Err(failure) = transaction.execute(sql::update(table, key, &values)?).await {
        return Err(write_failure(transaction, table, &values, context, failure).await);
    }
    let key_now =
        values.iter().find(|(field, _)| *field == table.descriptor().key).map_or(key, |(_, value)| value);
    // What he has written himself he is shown, also where it has just left what he can see.
    match find(transaction, table, key_now, &Filter::all(), false).await? {
        Some(row) => Ok(Outcome::Object(row)),
        None => Err(fault("an updated row is not there any more")),
    }
}

/// Reads the fields that a payload names. All mistakes are reported at once.
fn read_payload(view: View<'static>, payload: &Map<String, Json>) -> Result<Draft, Error> {
    let descriptor = view.descriptor();
    let mut draft = Draft::new(view);
    for (name, json) in payload {
        let Some(field) = draft.view().field_index(name) else {
            let names: Vec<&str> =
                draft.view().fields().filter(|field| !field.read_only).map(|field| field.name).collect();
            draft.mistake(name, format!("Unknown field; the fields are {}.", names.join(", ")));
            continue;
        };
        let known = &descriptor.fields[field];
        // Read-only fields are ignored, so that what was read can be written back.
        if known.read_only {
            continue;
        }
        if json.is_null() && (known.nullable || !known.kind.is_json()) {
            if known.nullable {
                draft.put(field, Value::Null);
            } else {
                draft.refuse(name, "This field may not be null.");
            }
            continue;
        }
        match filter::parse_value(known.kind, json) {
            Ok(Value::Text(text)) if text.contains('\0') => {
                draft.refuse(name, "Null characters are not allowed.");
            }
            Ok(Value::Json(json)) if crate::value::json_has_nul(&json) => {
                draft.refuse(name, "Null characters are not allowed.");
            }
            Ok(value) => draft.put(field, value),
            Err(message) => draft.refuse(name, message),
        }
    }
    Ok(draft)
}

/// Every field that a payload must name is named, if only with a mistake. What the caller does not see he need not
/// name.
fn require(payload: &Map<String, Json>, draft: &mut Draft) {
    let view = draft.view().clone();
    for field in view.fields().filter(|field| field.required && !payload.contains_key(field.name)) {
        draft.refuse(field.name, "This field is required.");
    }
}

fn replacement<DB: Backend + 'static>(
    table: &Table<DB>,
    payload: &Map<String, Json>,
    context: &Context<'_>,
) -> Result<Draft, Error> {
    let descriptor = table.descriptor();
    let mut draft = read_payload(descriptor.seen_by(context.principal), payload)?;
    require(payload, &mut draft);
    for (at, field) in descriptor.fields.iter().enumerate() {
        // What the caller does not see is not his to set back.
        let is_his = draft.view().shows(at) && !field.read_only;
        if !is_his || field.required || payload.contains_key(field.name) {
            continue;
        }
        let value = table.initial(at, context)?.unwrap_or(Value::Null);
        draft.put(at, value);
    }
    Ok(draft)
}

async fn validated<T: Transaction>(
    transaction: &mut T,
    (tables, table): Place<'_, T::Backend>,
    mut draft: Draft,
    before: Option<&Row>,
    context: &Context<'_>,
) -> Result<Vec<(usize, Value<'static>)>, Refusal> {
    let before = before.map(AsRef::as_ref);
    let refused = table.validate(&mut draft, before, context).err();
    match (refused, draft.take_error()) {
        (None, None) => {}
        // A rule that looks at the values comes after the values themselves.
        (Some(refused), Some(mistakes)) if refused.code() == Code::PermissionDenied => {
            return Err(mistakes.into());
        }
        (Some(error), _) => return Err(error.seen_through(draft.view()).into()),
        (None, Some(mistakes)) => return Err(mistakes.into()),
    }
    let mut within = Within { transaction, tables, failure: None };
    let checked = table.check(&draft, before, context, &mut Store::new(&mut within)).await;
    match (checked, within.failure) {
        // What the database failed with is for the log, whatever the hook has made of it.
        (_, Some(failure)) => Err(failure),
        (Err(error), None) => Err(error.seen_through(draft.view()).into()),
        (Ok(()), None) => Ok(draft.into_values()),
    }
}

/// A table, and all of those that hooks may look into.
pub(crate) type Place<'a, DB> = (&'a [Table<DB>], &'a Table<DB>);

/// A transaction, for hooks.
struct Within<'a, T: Transaction> {
    transaction: &'a mut T,
    tables: &'a [Table<T::Backend>],
    failure: Option<Refusal>,
}

impl<T: Transaction> Find for Within<'_, T> {
    fn find<'a>(
        &'a mut self,
        descriptor: &'static Descriptor,
        key: Value<'static>,
    ) -> Local<'a, Result<Option<Row>, Error>> {
        Box::pin(async move {
            let table = self.tables.iter().find(|table| table.descriptor().stream == descriptor.stream);
            let found = match table {
                Some(table) => find(self.transaction, table, &key, &Filter::all(), false).await,
                None => Err(fault("a hook asks for a resource that is not mounted")),
            };
            found.map_err(|refusal| {
                self.failure = Some(refusal);
                Error::internal("store")
            })
        })
    }
}

/// What a failed insert or update is answered with: the constraint's message on the field that it is about.
async fn write_failure<T: Transaction>(
    transaction: &mut T,
    table: &Table<T::Backend>,
    values: &[(usize, Value<'static>)],
    context: &Context<'_>,
    failure: Failure,
) -> Refusal {
    let view = table.descriptor().seen_by(context.principal);
    if !matches!(failure, Failure::ForeignKey) {
        return other_failure(&view, failure);
    }
    match missing_references(transaction, table, values).await {
        Ok(Some(error)) => error.seen_through(&view).into(),
        Ok(None) => {
            Error::validation(crate::error::NON_FIELD_ERRORS, "An object that is referred to does not exist.")
                .into()
        }
        Err(refusal) => refusal,
    }
}

/// SQLite does not say which foreign key failed: look which of the values refer to nothing.
async fn missing_references<T: Transaction>(
    transaction: &mut T,
    table: &Table<T::Backend>,
    values: &[(usize, Value<'static>)],
) -> Result<Option<Error>, Refusal> {
    let descriptor = table.descriptor();
    let fail = |failure| other_failure(&View::from(descriptor), failure);
    let mut error: Option<Error> = None;
    for reference in transaction.foreign_keys(descriptor.table).await.map_err(fail)? {
        let Some((field, value)) = values
            .iter()
            .find(|(field, value)| descriptor.fields[*field].column == reference.column && !value.is_null())
        else {
            continue;
        };
        let statement = sql::keys_present(table, *field, value, reference.table, reference.referenced)?;
        if transaction.number(statement).await.map_err(fail)? == 0 {
            let name = descriptor.fields[*field].name;
            let mut json = String::new();
            value.write_json(&mut json);
            let message = format!("Invalid pk {json} - object does not exist.");
            error = Some(match error {
                Some(error) => error.and(name, message),
                None => Error::validation(name, message),
            });
        }
    }
    Ok(error)
}

pub(crate) fn other_failure(view: &View<'_>, failure: Failure) -> Refusal {
    // A column that the resource does not show, or not to the caller, is not named.
    let public = |column: &String| {
        view.fields()
            .find(|field| field.column == column.as_str())
            .map_or(crate::error::NON_FIELD_ERRORS, |field| field.name)
    };
    match failure {
        Failure::Unique(columns) => {
            let mut error = Error::new(Code::Conflict, "An object with these values exists already.");
            for column in &columns {
                error = error.and(public(column), "This value is already taken.");
            }
            error.into()
        }
        Failure::NotNull(column) => Error::validation(
            column.as_ref().map_or(crate::error::NON_FIELD_ERRORS, public),
            "This field may not be null.",
        )
        .into(),
        Failure::Check => {
            Error::validation(crate::error::NON_FIELD_ERRORS, "A check of the database refuses these values.")
                .into()
        }
        Failure::ForeignKey => fault("a foreign key failed where nothing was written"),
        Failure::Unavailable(source) => Refusal::Unavailable(source),
        Failure::Fault(source) => Refusal::Fault(source),
    }
}

fn fault(message: &'static str) -> Refusal {
    Refusal::Fault(message.into())
}
