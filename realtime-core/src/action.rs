//! One request, whatever it came by: checked and carried out against an open transaction.

use diesel::backend::Backend;
use serde_json::{Map, Value as Json};

use crate::change::ResourceId;
use crate::check::Check;
use crate::commit::{self, Touched};
use crate::condition::Condition;
use crate::context::{Context, Principal};
use crate::custom::{CustomAction, Replies, Reply};
use crate::draft::Draft;
use crate::error::{Code, Error, NON_FIELD_ERRORS};
use crate::expand;
use crate::field::Kind;
use crate::filter::{self, Filter, Predicate};
use crate::grouping::{self, RowGroupsQuery};
use crate::idempotency::{self, Once};
use crate::list::{ListQuery, Page};
use crate::resource::{Action, Descriptor, FieldDescriptor, Record, Row};
use crate::scan;
use crate::sql::{self, AnyStatement, Dialect, NotOfItsType, Statement, Table};
use crate::store::{Access, AfterCommit, Local, Store, Values};
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
    /// Does the application ask itself? Then no policy is asked.
    pub trusted: bool,
    /// Is nobody told of what it changes?
    pub silent: bool,
}

impl Request {
    /// A request without conditions.
    pub fn new(resource: ResourceId, operation: Operation) -> Self {
        Self {
            resource,
            operation,
            condition: Condition::default(),
            once: None,
            trusted: false,
            silent: false,
        }
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
    /// Do what the application has added.
    Call(Box<Call>),
}

/// What is asked of an action of the application's.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which one.
    pub custom: &'static CustomAction,
    /// Of which row, where it is about one.
    pub key: Option<Value<'static>>,
    /// Its arguments, as they came.
    pub payload: Map<String, Json>,
}

impl Call {
    /// What a request asks for; without a key only where the action is about no row.
    ///
    /// # Errors
    /// 404 where the key is that of no row.
    pub fn new(
        descriptor: &Descriptor,
        custom: &'static CustomAction,
        key: Option<&Json>,
        payload: Map<String, Json>,
    ) -> Result<Self, Error> {
        let key = custom.on_row.then(|| crate::connection::key(descriptor, key)).transpose()?;
        Ok(Self { custom, key, payload })
    }

    /// What makes it another request than one with the same arguments.
    fn target(&self) -> String {
        let key = self.key.as_ref().map(|key| key.to_json().to_string());
        format!("{}/{}", self.custom.name, key.unwrap_or_default())
    }
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
            Self::Call(call) => call.custom.action(),
        }
    }

    /// See [`Rules::admit`](crate::policy::Rules::admit).
    fn admit(&self, descriptor: &Descriptor, principal: &Principal) -> Result<(), Error> {
        match self {
            Self::Call(call) => descriptor.rules.admit_custom(principal, call.custom),
            operation => descriptor.rules.admit(principal, operation.action()),
        }
    }

    /// See [`Rules::admit_to`](crate::policy::Rules::admit_to).
    fn admit_to(
        &self,
        descriptor: &Descriptor,
        principal: &Principal,
        row: &dyn Record,
    ) -> Result<(), Error> {
        match self {
            Self::Call(call) => descriptor.rules.admit_custom_to(principal, call.custom, row),
            operation => descriptor.rules.admit_to(principal, operation.action(), row),
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
    /// It is done, and there is nothing to say.
    Nothing,
    /// What an action of the application's has answered, as JSON.
    Answer(String),
    /// It was done before by the same request: what was answered then, as JSON; nothing where it is empty.
    DoneBefore(Replies, String),
}

/// A foreign key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// The table that refers.
    pub table: String,
    /// The table that it refers to.
    pub referenced: String,
    /// The columns that refer, each with the one that it refers to.
    pub columns: Vec<(String, String)>,
}

impl ForeignKey {
    /// Foreign keys of which each column is told by itself, after what its foreign key is called.
    pub fn of_columns(columns: impl IntoIterator<Item = (String, Self)>) -> Vec<Self> {
        let mut last = None;
        let mut whole: Vec<Self> = Vec::new();
        for (called, part) in columns {
            match whole.last_mut().filter(|_| last.as_ref() == Some(&called)) {
                Some(foreign_key) => foreign_key.columns.extend(part.columns),
                None => whole.push(part),
            }
            last = Some(called);
        }
        whole
    }
}

/// Why a statement failed.
#[derive(Debug)]
pub enum Failure {
    /// What is unique exists already.
    Unique(Constraint),
    /// A row that is referred to does not exist, or one that is removed is still referred to.
    ForeignKey,
    /// A column may not be `NULL`.
    NotNull(Constraint),
    /// A check of the database refuses the row.
    Check(Constraint),
    /// A value is longer or greater than its column takes.
    TooLarge,
    /// The database cannot be asked at present.
    Unavailable(Box<dyn std::error::Error + Send + Sync>),
    /// Anything else: a fault of the server.
    Fault(Box<dyn std::error::Error + Send + Sync>),
}

/// What a database says of the constraint that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Constraint {
    /// What it is about: columns, or expressions with them.
    Of(Vec<String>),
    /// Columns of the table of this name: a trigger or a hook may have written to another one than the resource's.
    OfTable(String, Vec<String>),
    /// Its name, and that of its table where the database tells; [`Transaction::constraint`] knows what it is about.
    Named(Option<String>, String),
}

/// How much a column takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size {
    /// The column.
    pub column: String,
    /// Characters of a text, at most; digits of a number in all.
    pub digits: u32,
    /// Digits of a number behind the point; `None` for a text.
    pub places: Option<u32>,
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

    /// Runs a statement that answers nothing, and says how many rows it has written.
    async fn execute(&mut self, statement: Statement<Self::Backend>) -> Result<usize, Failure>;

    /// Keeps what is to be done once the transaction is committed. Whoever commits does it.
    fn after_commit(&mut self, work: AfterCommit);

    /// Keeps which row has been written or removed, for [`commit::refused`].
    fn touched(&mut self, row: Touched) {
        let _ = row;
    }

    /// The foreign keys of a table.
    async fn foreign_keys(&mut self, table: &str) -> Result<Vec<ForeignKey>, Failure>;

    /// The foreign keys of whichever table that refer to a table.
    async fn foreign_keys_to(&mut self, table: &str) -> Result<Vec<ForeignKey>, Failure> {
        let _ = table;
        Ok(Vec::new())
    }

    /// What a named constraint of a table is about, as SQL; `None` where the table has none of that name.
    async fn constraint(&mut self, table: &str, name: &str) -> Result<Option<String>, Failure> {
        let _ = (table, name);
        Ok(None)
    }

    /// Is what the database calls `named` in a failure the table, or a part of it?
    async fn is_of_table(&mut self, named: &str, table: &str) -> Result<bool, Failure> {
        Ok(named.eq_ignore_ascii_case(table))
    }

    /// The columns of a table that do not take every value of their type.
    async fn sizes(&mut self, table: &str) -> Result<Vec<Size>, Failure> {
        let _ = table;
        Ok(Vec::new())
    }
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
    let table = tables.get(request.resource.0).ok_or_else(|| fault("a request is of no resource"))?;
    let carried_out = carry_out(transaction, (tables, table), request, context).await;
    carried_out.map_err(|refusal| table.map_refusal(refusal, request.operation.action(), context))
}

async fn carry_out<T: Transaction>(
    transaction: &mut T,
    (tables, table): Place<'_, T::Backend>,
    request: &Request,
    context: &Context<'_>,
) -> Result<Outcome, Refusal> {
    let descriptor = table.descriptor();
    let action = request.operation.action();
    if descriptor.is_over_view() && action.writes() && !matches!(action, Action::Custom(_)) {
        return Err(crate::connection::not_allowed(descriptor, action.name()).into());
    }
    if !request.trusted {
        request.operation.admit(descriptor, context.principal)?;
    }
    match &request.operation {
        Operation::Create(payload) => {
            request.condition.check_absent()?;
            let Some(once) = &request.once else {
                return create(transaction, (tables, table), request, payload, context).await;
            };
            if let Some(object) = idempotency::begin(transaction, table, once, ("", payload), context).await?
            {
                return Ok(Outcome::CreatedBefore(object));
            }
            let created = create(transaction, (tables, table), request, payload, context).await?;
            if let Outcome::Created(row) = &created {
                let object = crate::encode::object(descriptor.seen_by(context.principal), row.as_ref());
                idempotency::finish(transaction, table, once, &object, context).await?;
            }
            Ok(created)
        }
        Operation::Update(key, payload) => {
            let before = existing(transaction, table, key, request, context).await?;
            let draft = read_payload(request.view(descriptor, context), payload)?;
            change(transaction, (tables, table), &before, draft, context).await
        }
        Operation::Replace(key, payload) => {
            let before = existing(transaction, table, key, request, context).await?;
            let draft = replacement(table, request.view(descriptor, context), payload, context)?;
            change(transaction, (tables, table), &before, draft, context).await
        }
        Operation::Delete(key) => {
            let row = existing(transaction, table, key, request, context).await?;
            let mut within = Within { transaction, tables, context, failure: None };
            let destroyed = table.destroy(row.as_ref(), context, &mut Store::new(&mut within)).await;
            ended(&descriptor.seen_by(context.principal), destroyed, within.failure)?;
            Ok(Outcome::Deleted)
        }
        Operation::Retrieve(key) => {
            Ok(Outcome::Object(existing(transaction, table, key, request, context).await?))
        }
        Operation::List(query) => {
            let visible = descriptor.rules.visible(context.principal);
            let mut query = query.as_ref().clone();
            query.check_opened()?;
            if let Some(key) = query.row_beside() {
                let row = find(transaction, table, key, &visible, false).await?;
                query = query.beside(descriptor, row.as_deref())?;
            }
            let query = query.across_seen_by(context.principal).within(descriptor, visible);
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
        Operation::Call(call) => {
            let Some(once) = &request.once else {
                return call_custom(transaction, (tables, table), request, call, context).await;
            };
            let asked = (call.target(), &call.payload);
            let asked = (asked.0.as_str(), asked.1);
            if let Some(answer) = idempotency::begin(transaction, table, once, asked, context).await? {
                return Ok(Outcome::DoneBefore(call.custom.replies, answer));
            }
            let outcome = call_custom(transaction, (tables, table), request, call, context).await?;
            let answer = match &outcome {
                Outcome::Object(row) => {
                    crate::encode::object(descriptor.seen_by(context.principal), row.as_ref())
                }
                Outcome::Answer(json) => json.clone(),
                _ => String::new(),
            };
            idempotency::finish(transaction, table, once, &answer, context).await?;
            Ok(outcome)
        }
    }
}

async fn call_custom<T: Transaction>(
    transaction: &mut T,
    (tables, table): Place<'_, T::Backend>,
    request: &Request,
    call: &Call,
    context: &Context<'_>,
) -> Result<Outcome, Refusal> {
    let row = match &call.key {
        Some(key) => Some(existing(transaction, table, key, request, context).await?),
        None => {
            request.condition.check_absent()?;
            None
        }
    };
    let mut within = Within { transaction, tables, context, failure: None };
    let mut store = Store::new(&mut within);
    let called = (call.custom.run)(row.as_deref(), &call.payload, context, &mut store).await;
    match ended(&table.descriptor().seen_by(context.principal), called, within.failure)? {
        Reply::Nothing => Ok(Outcome::Nothing),
        Reply::Object(row) => Ok(Outcome::Object(row)),
        Reply::Value(Ok(json)) => Ok(Outcome::Answer(json)),
        Reply::Value(Err(error)) => Err(Refusal::Fault(Box::new(error))),
    }
}

impl Request {
    /// The fields that a payload may name.
    fn view(&self, descriptor: &'static Descriptor, context: &Context<'_>) -> View<'static> {
        if self.trusted { View::from(descriptor) } else { descriptor.seen_by(context.principal) }
    }
}

/// Is the object, as the caller is shown it, in the state that he asks for?
fn meets(request: &Request, descriptor: &Descriptor, row: &Row, context: &Context<'_>) -> Result<(), Error> {
    request.condition.check(|| crate::encode::object(descriptor.seen_by(context.principal), row.as_ref()))
}

/// The row that an action is about: one that exists for the caller, on which he may carry it out, and that is in the state
/// in which he expects it.
async fn existing<T: Transaction>(
    transaction: &mut T,
    table: &Table<T::Backend>,
    key: &Value<'static>,
    request: &Request,
    context: &Context<'_>,
) -> Result<Row, Refusal> {
    let descriptor = table.descriptor();
    let action = request.operation.action();
    let visible = if request.trusted { Filter::all() } else { descriptor.rules.visible(context.principal) };
    // Who is going to change it keeps others from removing it meanwhile.
    let row = addressed(transaction, table, key, visible, action.writes()).await?;
    let row = row.ok_or_else(Error::not_found)?;
    if !request.trusted {
        request.operation.admit_to(descriptor, context.principal, row.as_ref())?;
    }
    if action.writes() {
        meets(request, descriptor, &row, context)?;
    }
    Ok(row)
}

/// The row that a value of the lookup field leads to.
async fn addressed<T: Transaction>(
    transaction: &mut T,
    table: &Table<T::Backend>,
    value: &Value<'static>,
    among: Filter,
    lock: bool,
) -> Result<Option<Row>, Refusal> {
    let descriptor = table.descriptor();
    if descriptor.lookup == descriptor.key {
        return find(transaction, table, value, &among, lock).await;
    }
    let predicate = Predicate::of(descriptor.lookup, filter::one_of(vec![value.clone()]));
    let among = Filter::new(descriptor, vec![predicate]).and(descriptor, among);
    found(transaction, table, sql::select_among(table, &among)?, &among, lock).await
}

pub(crate) async fn find<T: Transaction>(
    transaction: &mut T,
    table: &Table<T::Backend>,
    key: &Value<'static>,
    among: &Filter,
    lock: bool,
) -> Result<Option<Row>, Refusal> {
    found(transaction, table, sql::select_by_key(table, key, among)?, among, lock).await
}

async fn found<T: Transaction>(
    transaction: &mut T,
    table: &Table<T::Backend>,
    mut statement: Statement<T::Backend>,
    among: &Filter,
    lock: bool,
) -> Result<Option<Row>, Refusal> {
    // Not every view has rows that can be locked.
    if lock && !table.descriptor().is_over_view() {
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
    request: &Request,
    payload: &Map<String, Json>,
    context: &Context<'_>,
) -> Result<Outcome, Refusal> {
    let descriptor = table.descriptor();
    let mut draft = read_payload(request.view(descriptor, context), payload)?;
    require(payload, &mut draft);
    for field in 0..descriptor.fields.len() {
        if !draft.holds(field)
            && let Some(value) = table.initial(field, context)?
        {
            draft.put(field, value);
        }
    }
    let mut draft = validated(transaction, (tables, table), draft, None, context).await?;
    let mut within = Within { transaction, tables, context, failure: None };
    let made = table.create(&mut draft, context, &mut Store::new(&mut within)).await;
    ended(draft.view(), made, within.failure).map(Outcome::Created)
}

async fn change<T: Transaction>(
    transaction: &mut T,
    (tables, table): Place<'_, T::Backend>,
    before: &Row,
    draft: Draft,
    context: &Context<'_>,
) -> Result<Outcome, Refusal> {
    let mut draft = validated(transaction, (tables, table), draft, Some(before), context).await?;
    if draft.is_empty() {
        return Ok(Outcome::Object(Row::clone(before)));
    }
    for field in 0..table.descriptor().fields.len() {
        if !draft.holds(field)
            && let Some(value) = table.renewed(field, context)?
        {
            draft.put(field, value);
        }
    }
    let mut within = Within { transaction, tables, context, failure: None };
    let changed = table.update(before.as_ref(), &mut draft, context, &mut Store::new(&mut within)).await;
    ended(draft.view(), changed, within.failure).map(Outcome::Object)
}

/// What a hook came to.
///
/// What the database failed with is for the log, whatever the hook has made of it. What it refused stays refused, but the
/// hook may say so in its own words.
fn ended<R>(view: &View<'_>, result: Result<R, Error>, failure: Option<Refusal>) -> Result<R, Refusal> {
    match (result, failure) {
        (Err(error), None | Some(Refusal::Refused(_))) => Err(error.seen_through(view).into()),
        (_, Some(failure)) => Err(failure),
        (Ok(value), None) => Ok(value),
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
            Ok(mut value) => {
                let mistakes = known.mistakes(&mut value);
                for message in &mistakes {
                    draft.refuse(name, message);
                }
                if mistakes.is_empty() {
                    draft.put(field, value);
                }
            }
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
    view: View<'static>,
    payload: &Map<String, Json>,
    context: &Context<'_>,
) -> Result<Draft, Error> {
    let descriptor = table.descriptor();
    let mut draft = read_payload(view, payload)?;
    require(payload, &mut draft);
    for (at, field) in descriptor.fields.iter().enumerate() {
        // What the caller does not see is not his to set back.
        let is_his = draft.view().shows(at) && !field.read_only;
        if !is_his || field.required || payload.contains_key(field.name) {
            continue;
        }
        match table.initial(at, context)? {
            Some(value) => draft.put(at, value),
            None if field.nullable => draft.put(at, Value::Null),
            // The database's own default is not known here: the row keeps what it has.
            None => {}
        }
    }
    Ok(draft)
}

async fn validated<T: Transaction>(
    transaction: &mut T,
    (tables, table): Place<'_, T::Backend>,
    mut draft: Draft,
    before: Option<&Row>,
    context: &Context<'_>,
) -> Result<Draft, Refusal> {
    if let Some(before) = before {
        draft.changes_row(before);
    }
    let before = before.map(AsRef::as_ref);
    // What several fields are asked together makes sense only of values that are acceptable one by one.
    if draft.is_acceptable() {
        for check in table.descriptor().checks {
            check(&mut draft);
        }
    }
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
    let mut within = Within { transaction, tables, context, failure: None };
    let checked = table.check(&draft, before, context, &mut Store::new(&mut within)).await;
    ended(draft.view(), checked, within.failure)?;
    Ok(draft)
}

/// A table, and all of those that hooks may look into.
pub(crate) type Place<'a, DB> = (&'a [Table<DB>], &'a Table<DB>);

/// A transaction, for hooks.
struct Within<'a, T: Transaction> {
    transaction: &'a mut T,
    tables: &'a [Table<T::Backend>],
    context: &'a Context<'a>,
    failure: Option<Refusal>,
}

impl<T: Transaction> Within<'_, T> {
    fn table(&self, descriptor: &Descriptor) -> Result<Table<T::Backend>, Refusal> {
        self.at(descriptor).map(|at| self.tables[at])
    }

    fn at(&self, descriptor: &Descriptor) -> Result<usize, Refusal> {
        let at = self.tables.iter().position(|table| table.descriptor().stream == descriptor.stream);
        at.ok_or_else(|| fault("a hook asks for a resource that is not mounted"))
    }

    /// Notes a row that has been written or removed.
    fn touch(&mut self, descriptor: &Descriptor, key: &Value<'static>) -> Result<(), Refusal> {
        let table = self.at(descriptor)?;
        self.transaction.touched(Touched { table, key: key.clone() });
        Ok(())
    }

    fn writable(&self, descriptor: &Descriptor) -> Result<Table<T::Backend>, Refusal> {
        if descriptor.is_over_view() {
            return Err(fault("a hook writes rows of a database view; it is to write those of its tables"));
        }
        self.table(descriptor)
    }

    async fn insert(&mut self, descriptor: &'static Descriptor, values: &Values) -> Result<Row, Refusal> {
        let table = self.writable(descriptor)?;
        let made = match self.transaction.rows(&table, sql::insert(&table, values)?).await {
            Ok(rows) => rows.into_iter().next(),
            Err(failure) => {
                return Err(
                    write_failure(self.transaction, &table, (values, None), self.context, failure).await
                );
            }
        };
        let made = made.ok_or_else(|| fault("an insert returned no row"))?;
        // Triggers of the application may have changed the row since: what is answered is what is stored.
        let key = made.value(descriptor.key).into_owned();
        self.touch(descriptor, &key)?;
        let stored = find(self.transaction, &table, &key, &Filter::all(), false).await?;
        Ok(stored.unwrap_or(made))
    }

    async fn update(
        &mut self,
        descriptor: &'static Descriptor,
        key: &Value<'static>,
        values: &Values,
    ) -> Result<Row, Refusal> {
        let table = self.writable(descriptor)?;
        if !values.is_empty()
            && let Err(failure) = self.transaction.execute(sql::update(&table, key, values)?).await
        {
            let before = match failure {
                Failure::ForeignKey => find(self.transaction, &table, key, &Filter::all(), false).await?,
                _ => None,
            };
            let written = (values.as_slice(), before.as_ref());
            return Err(write_failure(self.transaction, &table, written, self.context, failure).await);
        }
        let key_now =
            values.iter().find(|(field, _)| *field == descriptor.key).map_or(key, |(_, value)| value);
        if !key_now.is_same(key) {
            // Others may refer to the one that it had.
            self.touch(descriptor, key)?;
        }
        self.touch(descriptor, key_now)?;
        // What he has written himself he is shown, also where it has just left what he can see.
        let row = find(self.transaction, &table, key_now, &Filter::all(), false).await?;
        row.ok_or_else(|| fault("an updated row is not there any more"))
    }

    async fn delete(&mut self, descriptor: &'static Descriptor, key: &Value<'static>) -> Result<(), Refusal> {
        let table = self.writable(descriptor)?;
        match self.transaction.execute(sql::delete(&table, key)?).await {
            Ok(_) => self.touch(descriptor, key),
            Err(Failure::ForeignKey) => Err(commit::still_referred_to().into()),
            Err(failure) => Err(without_values(failure)),
        }
    }

    async fn execute(&mut self, statement: AnyStatement) -> Result<usize, Refusal> {
        let statement = Statement::of(T::Backend::of_any(statement));
        // Of which table a constraint is, is not known.
        self.transaction.execute(statement).await.map_err(without_values)
    }

    /// Keeps a failure, and says what the hook is told of it.
    fn keep<R>(&mut self, result: Result<R, Refusal>) -> Result<R, Error> {
        result.map_err(|refusal| {
            let told = match &refusal {
                Refusal::Refused(error) => error.clone(),
                _ => Error::internal("store"),
            };
            self.failure = Some(refusal);
            told
        })
    }
}

impl<T: Transaction> Access for Within<'_, T> {
    fn find<'a>(
        &'a mut self,
        descriptor: &'static Descriptor,
        key: Value<'static>,
    ) -> Local<'a, Result<Option<Row>, Error>> {
        Box::pin(async move {
            let found = match self.table(descriptor) {
                Ok(table) => find(self.transaction, &table, &key, &Filter::all(), false).await,
                Err(refusal) => Err(refusal),
            };
            self.keep(found)
        })
    }

    fn insert<'a>(
        &'a mut self,
        descriptor: &'static Descriptor,
        values: Values,
    ) -> Local<'a, Result<Row, Error>> {
        Box::pin(async move {
            let inserted = Within::insert(self, descriptor, &values).await;
            self.keep(inserted)
        })
    }

    fn update<'a>(
        &'a mut self,
        descriptor: &'static Descriptor,
        key: Value<'static>,
        values: Values,
    ) -> Local<'a, Result<Row, Error>> {
        Box::pin(async move {
            let updated = Within::update(self, descriptor, &key, &values).await;
            self.keep(updated)
        })
    }

    fn delete<'a>(
        &'a mut self,
        descriptor: &'static Descriptor,
        key: Value<'static>,
    ) -> Local<'a, Result<(), Error>> {
        Box::pin(async move {
            let deleted = Within::delete(self, descriptor, &key).await;
            self.keep(deleted)
        })
    }

    fn execute<'a>(&'a mut self, statement: AnyStatement) -> Local<'a, Result<usize, Error>> {
        Box::pin(async move {
            let executed = Within::execute(self, statement).await;
            self.keep(executed)
        })
    }

    fn after_commit(&mut self, work: AfterCommit) {
        self.transaction.after_commit(work);
    }
}

/// What is written to a row, and the row as it was; without one it is an insert, or all of its values are written.
pub(crate) type Written<'a> = (&'a [(usize, Value<'static>)], Option<&'a Row>);

/// What a failed insert or update is answered with: the constraint's message on the field that it is about.
pub(crate) async fn write_failure<T: Transaction>(
    transaction: &mut T,
    table: &Table<T::Backend>,
    (values, before): Written<'_>,
    context: &Context<'_>,
    failure: Failure,
) -> Refusal {
    let view = table.descriptor().seen_by(context.principal);
    let explained = match failure {
        Failure::Fault(source) => match without_encoding(transaction, table, values).await {
            Ok(Some(error)) => Ok(error),
            Ok(None) => return Refusal::Fault(source),
            Err(refusal) => Err(refusal),
        },
        Failure::ForeignKey => reference_failure(transaction, table, &view, (values, before)).await,
        Failure::TooLarge => too_large(transaction, table.descriptor(), values).await,
        Failure::Unique(constraint) => explained(transaction, &view, constraint, Failure::Unique).await,
        Failure::Check(constraint) => explained(transaction, &view, constraint, Failure::Check).await,
        Failure::NotNull(constraint) => explained(transaction, &view, constraint, Failure::NotNull).await,
        Failure::Unavailable(source) => return Refusal::Unavailable(source),
    };
    match explained {
        Ok(error) => error.seen_through(&view).into(),
        Err(refusal) => refusal,
    }
}

/// What a constraint is answered with: the message on the fields that it is about, on none where it is one of another table,
/// which may have columns of the same names.
async fn explained<T: Transaction>(
    transaction: &mut T,
    view: &View<'_>,
    constraint: Constraint,
    failure: fn(Constraint) -> Failure,
) -> Result<Error, Refusal> {
    let table = view.descriptor().table;
    let fail = |failure| other_failure(view, failure);
    let (named, about) = match constraint {
        Constraint::Of(about) => (None, about),
        Constraint::OfTable(named, about) => (Some(named), about),
        Constraint::Named(named, name) => {
            let about = transaction.constraint(table, &name).await.map_err(fail)?;
            (named, about.into_iter().collect())
        }
    };
    let is_ours = match named {
        Some(named) => transaction.is_of_table(&named, table).await.map_err(fail)?,
        None => true,
    };
    Ok(explain(view, failure(Constraint::Of(if is_ours { about } else { Vec::new() }))))
}

/// The first value that is longer or greater than its column takes: databases do not say which one it is.
async fn too_large<T: Transaction>(
    transaction: &mut T,
    descriptor: &Descriptor,
    values: &[(usize, Value<'static>)],
) -> Result<Error, Refusal> {
    let sizes = transaction
        .sizes(descriptor.table)
        .await
        .map_err(|failure| other_failure(&View::from(descriptor), failure))?;
    let mut found: Option<Error> = None;
    for size in sizes {
        let of_column = values.iter().find(|(field, _)| descriptor.fields[*field].column == size.column);
        let Some((field, value)) = of_column else { continue };
        let check = match size.places {
            None => Check::Length { min: None, max: usize::try_from(size.digits).ok() },
            places => Check::Digits { digits: Some(size.digits), places },
        };
        let FieldDescriptor { name, kind, .. } = descriptor.fields[*field];
        if let Err(message) = check.apply(kind, &mut value.clone()) {
            found = Some(match found {
                Some(error) => error.and(name, message),
                None => Error::validation(name, message),
            });
        }
    }
    Ok(found
        .unwrap_or_else(|| Error::validation(NON_FIELD_ERRORS, "A value is larger than its column takes.")))
}

/// The values with a character that the encoding of the database lacks: it says so in its own language only.
async fn without_encoding<T: Transaction>(
    transaction: &mut T,
    table: &Table<T::Backend>,
    values: &[(usize, Value<'static>)],
) -> Result<Option<Error>, Refusal> {
    let descriptor = table.descriptor();
    let mut found: Option<Error> = None;
    for (field, value) in values {
        let FieldDescriptor { name, kind, .. } = descriptor.fields[*field];
        let text = match value {
            Value::Text(text) if matches!(kind, Kind::Text) => text.clone().into_owned(),
            Value::Json(json) => json.to_string(),
            _ => continue,
        };
        let Some(query) = T::Backend::has_text(table, text) else { return Ok(None) };
        let has = transaction.number(query).await;
        if has.map_err(|failure| other_failure(&View::from(descriptor), failure))? == 0 {
            let message = "The encoding of the database lacks a character of this value.";
            found = Some(match found {
                Some(error) => error.and(name, message),
                None => Error::validation(name, message),
            });
        }
    }
    Ok(found)
}

/// What a foreign key is answered with: SQLite does not say which one failed.
async fn reference_failure<T: Transaction>(
    transaction: &mut T,
    table: &Table<T::Backend>,
    view: &View<'_>,
    written: Written<'_>,
) -> Result<Error, Refusal> {
    if let Some(missing) = missing_references(transaction, table, view, written).await? {
        return Ok(missing);
    }
    if let (values, Some(before)) = written
        && is_referred_to(transaction, table, before, values).await?
    {
        return Ok(commit::still_referred_to());
    }
    Ok(missing_object())
}

/// Something is referred to that is not there.
pub(crate) fn missing_object() -> Error {
    Error::validation(NON_FIELD_ERRORS, "An object that is referred to does not exist.")
}

/// The written values that refer to nothing.
pub(crate) async fn missing_references<T: Transaction>(
    transaction: &mut T,
    table: &Table<T::Backend>,
    view: &View<'_>,
    (values, before): Written<'_>,
) -> Result<Option<Error>, Refusal> {
    let descriptor = table.descriptor();
    let fail = |failure| other_failure(view, failure);
    let mut error: Option<Error> = None;
    for reference in transaction.foreign_keys(descriptor.table).await.map_err(fail)? {
        let mut referring = Vec::new();
        for (column, referenced) in &reference.columns {
            let Some(field) = descriptor.fields.iter().position(|field| field.column == column) else {
                break;
            };
            let written =
                values.iter().find(|(written, _)| *written == field).map(|(_, value)| value.clone());
            let value = written.or_else(|| before.map(|row| row.value(field).into_owned()));
            // Where a part of it is `NULL` it refers to nothing at all.
            let Some(value) = value.filter(|value| !value.is_null()) else { break };
            referring.push((referenced, field, value));
        }
        let is_written =
            referring.iter().any(|(_, field, _)| values.iter().any(|(written, _)| written == field));
        if !is_written || referring.len() < reference.columns.len() {
            continue;
        }
        let columns = referring.iter().map(|(column, field, value)| (String::clone(column), *field, value));
        let statement = sql::count_with(table, reference.referenced, columns.collect())?;
        if transaction.number(statement).await.map_err(fail)? > 0 {
            continue;
        }
        // What the server has put beside it is none of the caller's.
        let is_his = |field: usize| view.shows(field) && !descriptor.fields[field].read_only;
        let (name, message) =
            match referring.iter().filter(|(_, field, _)| is_his(*field)).collect::<Vec<_>>()[..] {
                [(_, field, value)] => invalid_pk(descriptor.fields[*field].name, value),
                [] if let [(_, field, value)] = &referring[..] => {
                    invalid_pk(descriptor.fields[*field].name, value)
                }
                [] => (NON_FIELD_ERRORS, "An object that is referred to does not exist.".to_owned()),
                ref several => {
                    let names: Vec<&str> =
                        several.iter().map(|(_, field, _)| descriptor.fields[*field].name).collect();
                    let names = names.join(", ");
                    (NON_FIELD_ERRORS, format!("The fields {names} refer to an object that does not exist."))
                }
            };
        error = Some(match error {
            Some(error) => error.and(name, message),
            None => Error::validation(name, message),
        });
    }
    Ok(error)
}

fn invalid_pk<'a>(name: &'a str, value: &Value<'_>) -> (&'a str, String) {
    let mut json = String::new();
    value.write_json(&mut json);
    (name, format!("Invalid pk {json} - object does not exist."))
}

/// Do other rows refer to what is changed in a row?
async fn is_referred_to<T: Transaction>(
    transaction: &mut T,
    table: &Table<T::Backend>,
    before: &Row,
    values: &[(usize, Value<'static>)],
) -> Result<bool, Refusal> {
    let descriptor = table.descriptor();
    let fail = |failure| other_failure(&View::from(descriptor), failure);
    let is_changed = |field: usize| {
        values.iter().any(|(written, value)| *written == field && !value.is_same(&before.value(field)))
    };
    for reference in transaction.foreign_keys_to(descriptor.table).await.map_err(fail)? {
        let mut referred = Vec::new();
        for (column, referenced) in &reference.columns {
            let field = descriptor.fields.iter().position(|field| field.column == referenced);
            referred.extend(field.map(|field| (column, field, before.value(field).into_owned())));
        }
        let is_known = referred.len() == reference.columns.len();
        if !is_known || !referred.iter().any(|(_, field, _)| is_changed(*field)) {
            continue;
        }
        let columns = referred.iter().map(|(column, field, value)| (String::clone(column), *field, value));
        let statement = sql::count_with(table, reference.table, columns.collect())?;
        if transaction.number(statement).await.map_err(fail)? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a statement fails with that writes no values of a payload: nobody has given one that could be another.
fn without_values(failure: Failure) -> Refusal {
    match failure {
        Failure::Unavailable(source) => Refusal::Unavailable(source),
        Failure::Fault(source) => Refusal::Fault(source),
        _ => commit::constraint().into(),
    }
}

pub(crate) fn other_failure(view: &View<'_>, failure: Failure) -> Refusal {
    match failure {
        Failure::ForeignKey => fault("a foreign key failed where nothing was written"),
        Failure::Unavailable(source) => Refusal::Unavailable(source),
        Failure::Fault(source) => Refusal::Fault(source),
        failure => explain(view, failure).into(),
    }
}

/// What a constraint is answered with, on the field that it is about; on the whole object where it is about several, or
/// about columns that the resource does not show, or not to the caller.
pub(crate) fn explain(view: &View<'_>, failure: Failure) -> Error {
    match failure {
        Failure::Unique(about) => {
            let error = Error::new(Code::Conflict, "An object with these values exists already.");
            match concerned(view, &about).as_slice() {
                [field] => error.and(*field, "This value is already taken."),
                [] => error.and(NON_FIELD_ERRORS, "This value is already taken."),
                several => error.and(
                    NON_FIELD_ERRORS,
                    format!("The fields {} must make a unique set.", several.join(", ")),
                ),
            }
        }
        Failure::Check(about) => match concerned(view, &about).as_slice() {
            [field] => Error::validation(*field, "A check of the database refuses this value."),
            [] => Error::validation(NON_FIELD_ERRORS, "A check of the database refuses these values."),
            several => Error::validation(
                NON_FIELD_ERRORS,
                format!("A check of the database refuses these values of {}.", several.join(", ")),
            ),
        },
        Failure::NotNull(about) => {
            let field = concerned(view, &about).first().copied().unwrap_or(NON_FIELD_ERRORS);
            Error::validation(field, "This field may not be null.")
        }
        _ => Error::validation(NON_FIELD_ERRORS, "The database refuses these values."),
    }
}

/// The fields whose columns a constraint names, in their order.
fn concerned<'a>(view: &View<'a>, constraint: &Constraint) -> Vec<&'a str> {
    let about = match constraint {
        Constraint::Of(about) => about,
        Constraint::OfTable(table, about) if table.eq_ignore_ascii_case(view.descriptor().table) => about,
        Constraint::OfTable(..) | Constraint::Named(..) => return Vec::new(),
    };
    let named =
        view.fields().filter(|field| about.iter().any(|sql| sql == field.column || names(sql, field.column)));
    named.map(|field| field.name).collect()
}

/// Does an expression name the column? Its texts are passed over.
fn names(sql: &str, column: &str) -> bool {
    // Between single quotes is a text; two of them in a text are one.
    let outside = sql.split('\'').step_by(2);
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    outside.flat_map(|sql| sql.split(|letter| !is_part(letter))).any(|word| word.eq_ignore_ascii_case(column))
}

fn fault(message: &'static str) -> Refusal {
    Refusal::Fault(message.into())
}
