//! A Diesel model made live: the trait that the derive implements and the static tables that describe it.

use std::any::Any;
use std::sync::Arc;

use diesel::backend::Backend;
use diesel::query_builder::QueryFragment;

use crate::check::Check;
use crate::context::Context;
use crate::custom::CustomAction;
use crate::draft::Draft;
use crate::error::Error;
use crate::field::Kind;
use crate::lookup::{Lookup, LookupSet};
use crate::part::Part;
use crate::policy::Rules;
use crate::throttle::Rate;
use crate::value::Value;
use crate::zone::Zone;

/// What is known of a resource without looking at a row.
#[derive(Debug)]
pub struct Descriptor {
    /// The public name on the wire.
    pub stream: &'static str,
    /// The table in the database, or the database view.
    pub table: &'static str,
    /// The tables that a database view reads; none where the rows are those of a table.
    pub bases: &'static [Base],
    /// The fields, in the order in which they are written. Skipped ones are not among them.
    pub fields: &'static [FieldDescriptor],
    /// The index of the primary key in `fields`.
    pub key: usize,
    /// The index of the field whose value addresses a row: the key, or what `lookup_field` says.
    pub lookup: usize,
    /// The subscription field mapping.
    pub aliases: &'static [Alias],
    /// The fields whose values make the row groups that subscriptions are about, by index; none where a subscription is
    /// about the rows that its filter selects.
    pub group_by: &'static [usize],
    /// The actions that the resource offers.
    pub actions: ActionSet,
    /// The actions that the application adds.
    pub custom: &'static [CustomAction],
    /// What lists offer beside filters and orders.
    pub lists: Lists,
    /// How often somebody may carry them out.
    pub throttle: &'static [(Action, Rate)],
    /// Who may carry them out, and on which rows.
    pub rules: Rules,
    /// What is asked of several fields together, once each of them is acceptable by itself.
    pub checks: &'static [fn(&mut Draft)],
    /// The zone in which filters read the parts of timestamps; `None` for UTC.
    pub zone: Option<fn() -> &'static Zone>,
    /// The model's doc comment.
    pub description: &'static str,
}

impl Descriptor {
    /// The bytes that the texts of a row take, about.
    pub fn weight(&self, row: &dyn Record) -> usize {
        (0..self.fields.len()).map(|field| row.value(field).weight()).sum()
    }

    /// The index of the field with a public name.
    pub fn field_index(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    /// The relation of a name.
    pub fn relation(&self, name: &str) -> Option<&'static Relation> {
        self.lists.relations.iter().find(|relation| relation.name == name)
    }

    /// The field with a public name.
    pub fn field(&self, name: &str) -> Option<&FieldDescriptor> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The zone in which the parts of a field are read; `None` for UTC, and for what is no timestamp.
    pub fn zone_of(&self, field: usize) -> Option<&'static Zone> {
        let is_timestamp = matches!(self.fields[field].kind, Kind::Timestamp | Kind::NaiveTimestamp);
        self.zone.filter(|_| is_timestamp).map(|zone| zone())
    }

    /// The application's action of a name on the wire.
    pub fn custom(&self, name: &str) -> Option<&'static CustomAction> {
        self.custom.iter().find(|custom| custom.name == name)
    }

    /// How often somebody may carry out an action.
    pub fn rate(&self, action: Action) -> Option<Rate> {
        match action {
            Action::Custom(name) => self.custom(name)?.throttle,
            action => self.throttle.iter().find(|(limited, _)| *limited == action).map(|(_, rate)| *rate),
        }
    }

    /// The indexes of the fields that clients can be shown: all but those that are written only.
    pub fn shown(&self) -> impl Iterator<Item = usize> + Clone + '_ {
        (0..self.fields.len()).filter(|field| !self.fields[*field].write_only)
    }

    /// Are the rows those of a database view? Nobody writes them.
    pub const fn is_over_view(&self) -> bool {
        !self.bases.is_empty()
    }

    /// The descriptor of the field whose value addresses a row.
    pub fn lookup_field(&self) -> &'static FieldDescriptor {
        &self.fields[self.lookup]
    }

    /// The primary key's descriptor.
    pub fn key_field(&self) -> &'static FieldDescriptor {
        &self.fields[self.key]
    }
}

/// A table that a database view reads, and which of the view's rows a row of the table has a part in: those that have the
/// value of its column in a field.
#[derive(Debug)]
pub struct Base {
    /// The table.
    pub table: &'static str,
    /// Its column.
    pub column: &'static str,
    /// The index of the field.
    pub field: usize,
}

/// What is known of one field.
#[derive(Debug)]
pub struct FieldDescriptor {
    /// The public name.
    pub name: &'static str,
    /// The column in the database.
    pub column: &'static str,
    /// What sort of value it holds.
    pub kind: Kind,
    /// May it be `NULL`?
    pub nullable: bool,
    /// Is it set by the server only?
    pub read_only: bool,
    /// Is it taken from clients and never shown?
    pub write_only: bool,
    /// Must a create name it?
    pub required: bool,
    /// The value of a new row that does not name it, where that is always the same.
    pub default: Option<fn() -> Value<'static>>,
    /// A value that it might have, for schemas.
    pub example: Option<fn() -> Value<'static>>,
    /// What is asked of a value beside its type.
    pub checks: &'static [Check],
    /// What is said of a value that fails any of them, in the place of their own words.
    pub message: Option<&'static str>,
    /// What is shown in the place of the column's value, where [`Record::shown`] makes something else of the row.
    pub computed: Option<Computed>,
    /// The lookups that a filter may use under the field's own name.
    pub lookups: LookupSet,
    /// May a list be ordered by it?
    pub orderable: bool,
    /// What `help` says, or the field's doc comment.
    pub description: &'static str,
}

/// The type of what is shown of a field that has `serialize_with`.
#[derive(Clone, Copy, Debug)]
pub struct Computed {
    /// What sort of value it is.
    pub kind: Kind,
    /// May it be `null`?
    pub nullable: bool,
}

/// What the lists of a resource offer beside filters and orders.
#[derive(Debug)]
pub struct Lists {
    /// The indexes of the fields in which `search` looks.
    pub search: &'static [usize],
    /// Rows of a page that names no limit; `None` for the scope's own default.
    pub default_rows: Option<usize>,
    /// Rows of a page, at most; `None` for the scope's own limit.
    pub most_rows: Option<usize>,
    /// The foreign keys that lead to other resources.
    pub relations: &'static [Relation],
}

impl Lists {
    /// Nothing beside them.
    pub const PLAIN: Self = Self { search: &[], default_rows: None, most_rows: None, relations: &[] };
}

/// A foreign key that leads to another resource.
#[derive(Debug)]
pub struct Relation {
    /// What `expand` and filters call it.
    pub name: &'static str,
    /// The index of the field that has the key of the other's row.
    pub field: usize,
    /// The other resource. A function, so that two may lead to each other.
    pub target: fn() -> &'static Descriptor,
    /// Has the other resource a route to these rows, `/topics/{pk}/comments/`?
    pub nested: bool,
}

impl FieldDescriptor {
    /// Looks at a value as one of a payload is looked at, and brings it into the form in which it is stored. Says what is
    /// wrong with it.
    ///
    /// For values that come another way, such as the form of a registration.
    pub fn mistakes(&self, value: &mut Value<'static>) -> Vec<String> {
        let found = self.checks.iter().filter_map(|check| check.apply(self.kind, value).err());
        let found: Vec<String> = found.collect();
        match self.message {
            Some(message) if !found.is_empty() => vec![message.to_owned()],
            _ => found,
        }
    }
}

/// One entry of a subscription field mapping.
#[derive(Debug)]
pub struct Alias {
    /// The key in a filter.
    pub name: &'static str,
    /// The index of the field it stands for.
    pub field: usize,
    /// The part of the field that is compared; `None` for the field itself.
    pub part: Option<Part>,
    /// The keys and indexes that lead into JSON; none for the field itself.
    pub path: &'static [&'static str],
    /// The lookup it stands for.
    pub lookup: Lookup,
}

/// What may be done with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Make a new row.
    Create,
    /// Change the named fields of a row.
    Update,
    /// Set all writable fields of a row.
    Replace,
    /// Remove a row.
    Delete,
    /// Read one row.
    Retrieve,
    /// Read the rows that a filter selects.
    List,
    /// Be told of changes.
    Subscribe,
    /// No longer be told of changes.
    Unsubscribe,
    /// What the application has added under this name.
    Custom(&'static str),
}

impl Action {
    /// Every action that is not of the application's.
    pub const ALL: &'static [Self] = &[
        Self::Create,
        Self::Update,
        Self::Replace,
        Self::Delete,
        Self::Retrieve,
        Self::List,
        Self::Subscribe,
        Self::Unsubscribe,
    ];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Replace => "replace",
            Self::Delete => "delete",
            Self::Retrieve => "retrieve",
            Self::List => "list",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Custom(name) => name,
        }
    }

    /// The action of a name on the wire.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.name() == name)
    }

    /// Does the action change the database?
    pub const fn writes(self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Replace | Self::Delete | Self::Custom(_))
    }

    /// Is the action about one row that exists? Of the application's own it is [`CustomAction::on_row`] that says so.
    pub const fn needs_key(self) -> bool {
        matches!(self, Self::Update | Self::Replace | Self::Delete | Self::Retrieve)
    }
}

impl Action {
    /// Its place in a set. Those of the application's are in none.
    const fn bit(self) -> u8 {
        match self {
            Self::Create => 1,
            Self::Update => 1 << 1,
            Self::Replace => 1 << 2,
            Self::Delete => 1 << 3,
            Self::Retrieve => 1 << 4,
            Self::List => 1 << 5,
            Self::Subscribe => 1 << 6,
            Self::Unsubscribe => 1 << 7,
            Self::Custom(_) => 0,
        }
    }
}

/// A set of actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActionSet(u8);

impl ActionSet {
    /// Every action.
    pub const ALL: Self = Self::of(Action::ALL);

    /// The given actions. Who may subscribe may unsubscribe.
    pub const fn of(actions: &[Action]) -> Self {
        let mut set = 0;
        let mut at = 0;
        while at < actions.len() {
            set |= actions[at].bit();
            if matches!(actions[at], Action::Subscribe) {
                set |= Action::Unsubscribe.bit();
            }
            at += 1;
        }
        Self(set)
    }

    /// Is the action one of the set?
    pub const fn contains(self, action: Action) -> bool {
        self.0 & action.bit() != 0
    }
}

/// A row of any resource: a model whose fields can be read by index.
pub trait Record: Any + Send + Sync {
    /// The value of the field with an index of [`Descriptor::fields`].
    fn value(&self, field: usize) -> Value<'_>;

    /// What clients are shown of the field: the value, or what the function given to `serialize_with` makes of the row.
    fn shown(&self, field: usize) -> Value<'_> {
        self.value(field)
    }
}

/// A shared row of any resource. It is the model itself: [`Any`] leads back to the type.
pub type Row = Arc<dyn Record>;

/// A Diesel model that clients can read, write and follow. Implemented by `#[derive(RealtimeResource)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a realtime resource",
    note = "add `#[derive(RealtimeResource)]` to the Diesel model"
)]
pub trait RealtimeResource: Record + Sized {
    /// The static tables.
    const DESCRIPTOR: &'static Descriptor;

    /// The value that a new row gets in a field that clients do not set: `on_create`.
    ///
    /// # Errors
    /// What the function given to `on_create` fails with.
    fn initial(field: usize, context: &Context<'_>) -> Result<Option<Value<'static>>, Error> {
        let _ = (field, context);
        Ok(None)
    }

    /// The value that a row gets in a field whenever it is changed: `on_update`.
    ///
    /// # Errors
    /// What the function given to `on_update` fails with.
    fn renewed(field: usize, context: &Context<'_>) -> Result<Option<Value<'static>>, Error> {
        let _ = (field, context);
        Ok(None)
    }
}

/// The columns of one result row of a backend, by position.
pub trait Columns<DB: Backend + 'static> {
    /// Calls `read` with the raw value of a column, `None` for `NULL`.
    fn visit(&self, column: usize, read: &mut dyn FnMut(Option<DB::RawValue<'_>>));
}

/// A typed value on its way into a statement.
pub type Bind<DB> = Box<dyn QueryFragment<DB> + Send>;

/// The half of a resource that depends on the database. Implemented by `#[derive(RealtimeResource)]` per backend.
pub trait ResourceOn<DB: Backend + 'static>: RealtimeResource {
    /// Builds the model from the columns that hold its fields; `at[field]` is the position of each.
    ///
    /// # Errors
    /// What Diesel's `FromSql` of a field's type fails with.
    fn from_columns(columns: &dyn Columns<DB>, at: &[usize]) -> diesel::deserialize::Result<Self>;

    /// The value as a bind of the field's own Rust and SQL type; `None` where it is not one of the type.
    fn bind(field: usize, value: Value<'_>) -> Option<Bind<DB>>;
}
