//! What a connection asks to be told of, and the id by which both sides know it.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::change::ResourceId;
use crate::connection::Start;
use crate::context::Principal;
use crate::cursor::Cursor;
use crate::error::{Code, Error};
use crate::filter::{self, Filter, RawArgument};
use crate::grouping::{RowGroups, RowGroupsQuery};
use crate::limits::Limits;
use crate::related;
use crate::resource::Descriptor;
use crate::value::Value;
use crate::view::View;

/// How an update is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// The fields that changed.
    #[default]
    Diff,
    /// The whole object.
    Full,
}

/// What an event says of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EventAction {
    /// It came into the filter.
    Create,
    /// It stayed and a visible field changed.
    Update,
    /// It left the filter.
    Delete,
}

impl EventAction {
    const ALL: [Self; 3] = [Self::Create, Self::Update, Self::Delete];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// A set of event actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventActions(u8);

impl Default for EventActions {
    fn default() -> Self {
        Self(0b111)
    }
}

impl EventActions {
    /// Is the action one of the set?
    pub const fn contains(self, action: EventAction) -> bool {
        self.0 & (1 << action as u8) != 0
    }

    /// Reads `"actions": ["create", …]`.
    ///
    /// # Errors
    /// 400 for anything but a list of at least one of the three names.
    pub fn parse(json: &Json) -> Result<Self, Error> {
        let refused =
            || Error::bad_request("actions is a list of at least one of create, update and delete.");
        let mut set = Self(0);
        for name in json.as_array().filter(|names| !names.is_empty()).ok_or_else(refused)? {
            let action = EventAction::ALL.into_iter().find(|action| name.as_str() == Some(action.name()));
            set.0 |= 1 << action.ok_or_else(refused)? as u8;
        }
        Ok(set)
    }
}

/// A filter over one stream in one form: what a group's members have in common.
#[derive(Clone, Debug)]
pub struct Subscription {
    resource: ResourceId,
    filter: Filter,
    fields: Cow<'static, [usize]>,
    form: Form,
    actions: EventActions,
    identity: Box<str>,
    id: Box<str>,
    /// Most are about all that was asked for.
    narrowed: Option<Box<Narrowed>>,
}

/// What was asked for, where whoever asked may not see all of it, and what tells his group from those of others.
#[derive(Clone, Debug)]
struct Narrowed {
    filter: Filter,
    fields: Cow<'static, [usize]>,
    identity: Box<str>,
}

/// The first numbers: what most subscriptions show is all fields, and then none has a list of its own.
static NUMBERS: [usize; 128] = {
    let mut numbers = [0; 128];
    let mut at = 0;
    while at < numbers.len() {
        numbers[at] = at;
        at += 1;
    }
    numbers
};

/// There may be many subscriptions: none keeps what another one has as well, or more room than it needs.
fn kept(mut fields: Vec<usize>) -> Cow<'static, [usize]> {
    if let Some(first) = NUMBERS.get(..fields.len())
        && first == fields
    {
        return Cow::Borrowed(first);
    }
    fields.shrink_to_fit();
    Cow::Owned(fields)
}

impl Subscription {
    /// Puts a subscription together. `fields` are the ones asked for, `None` for all; the key is always among them.
    pub fn new(
        resource: ResourceId,
        descriptor: &Descriptor,
        filter: Filter,
        fields: Option<Vec<usize>>,
        form: Form,
        actions: EventActions,
    ) -> Self {
        let all = descriptor.shown();
        let shown = |field: &usize| {
            fields.as_ref().is_none_or(|some| some.contains(field) || *field == descriptor.key)
        };
        let fields = kept(all.clone().filter(shown).collect());
        let mut names: Vec<&str> = fields.iter().map(|field| descriptor.fields[*field].name).collect();
        names.sort_unstable();
        // Names, never indexes or addresses: the same subscription has the same id on every node and after every build.
        let identity = format!(
            "{}\n{}\n{}\n{form:?}\n{}",
            descriptor.stream,
            filter.canonical(),
            if fields.len() == all.count() { "*".to_owned() } else { names.join(",") },
            actions.0
        );
        let id = URL_SAFE_NO_PAD.encode(&Sha256::digest(identity.as_bytes())[..16]).into();
        Self { resource, filter, fields, form, actions, identity: identity.into(), id, narrowed: None }
    }

    /// The same subscription to other rows, of whom nothing is hidden from.
    #[must_use]
    fn to_rows(&self, descriptor: &Descriptor, filter: Filter) -> Self {
        let fields = self.narrowed.as_ref().map_or(&self.fields, |narrowed| &narrowed.fields).clone();
        Self::new(self.resource, descriptor, filter, Some(fields.into_owned()), self.form, self.actions)
    }

    /// The same subscription of somebody for whom only some rows and fields exist, whatever those were before. Its id
    /// stays: it says what was asked for.
    #[must_use]
    pub fn seen_by(mut self, descriptor: &Descriptor, principal: &Principal) -> Self {
        if let Some(narrowed) = self.narrowed.take() {
            self.filter = narrowed.filter;
            self.fields = narrowed.fields;
        }
        let (view, visible) = (descriptor.seen_by(principal), descriptor.rules.visible(principal));
        let (shown, hidden): (Vec<usize>, Vec<usize>) =
            self.fields.iter().partition(|field| view.shows(**field));
        if !visible.is_all() || !hidden.is_empty() {
            // Names here too, and only those of fields that were asked for: whoever is told the same is in one group.
            let hidden: Vec<&str> = hidden.iter().map(|field| descriptor.fields[*field].name).collect();
            let identity = format!("{}\n{}\n{}", self.identity, visible.canonical(), hidden.join(","));
            let filter = self.filter.clone().and(descriptor, visible);
            self.narrowed = Some(Box::new(Narrowed {
                filter: std::mem::replace(&mut self.filter, filter),
                fields: std::mem::replace(&mut self.fields, kept(shown)),
                identity: identity.into(),
            }));
        }
        self
    }

    /// Does somebody see the same rows and fields of it as whoever holds it?
    pub fn is_seen_alike(&self, descriptor: &Descriptor, principal: &Principal) -> bool {
        self.clone().seen_by(descriptor, principal).group_identity() == self.group_identity()
    }

    /// Could somebody have asked for it? Its filter names no field that is hidden from him.
    pub fn is_known_to(&self, descriptor: &Descriptor, principal: &Principal) -> bool {
        let view = descriptor.seen_by(principal);
        let asked = self.narrowed.as_ref().map_or(&self.filter, |narrowed| &narrowed.filter);
        asked.fields().into_iter().all(|field| view.shows(field))
    }

    /// Whose rows it is about.
    pub fn resource(&self) -> ResourceId {
        self.resource
    }

    /// Which rows it is about: those that were asked for and exist for whoever asked.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// The fields that its events show, by index, the key among them: those that were asked for and exist for whoever
    /// asked.
    pub fn fields(&self) -> &[usize] {
        &self.fields
    }

    /// How updates are sent.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Which events are sent.
    pub fn actions(&self) -> EventActions {
        self.actions
    }

    /// The whole text that tells what was asked for from what others ask for. A connection's subscriptions are found
    /// by it.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Is it about fewer rows or fields than were asked for, because whoever asked may not see all of them?
    pub fn is_narrowed(&self) -> bool {
        self.narrowed.is_some()
    }

    /// The same text, and what whoever asked may see: whose subscriptions have it are told the same. Groups are found by
    /// it.
    pub fn group_identity(&self) -> &str {
        self.narrowed.as_ref().map_or(&self.identity, |narrowed| &narrowed.identity)
    }

    /// The id on the wire: the first 128 bits of the SHA-256 of the identity, in base64url.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// What a client asks for when it subscribes: of what it wants to be told, and from where on.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Of what.
    pub subscription: Arc<Subscription>,
    /// From where on.
    pub start: Start,
    /// What finds the row groups that it is about, where its filter does not name them. The subscription is then the one that
    /// was asked for, and [`Asked::to_row_groups`] makes the one that is followed.
    pub row_groups: Option<Box<RowGroupsQuery>>,
}

impl Asked {
    /// Reads a filter and the options beside it, for a caller. A key stands for the filter that selects its row.
    ///
    /// # Errors
    /// 400 that says what is wrong.
    pub fn parse(
        (resource, descriptor): (ResourceId, &Descriptor),
        principal: &Principal,
        key: Option<Value<'static>>,
        filter: impl IntoIterator<Item = (String, RawArgument)>,
        options: &[(String, Json)],
        limits: &Limits,
    ) -> Result<Self, Error> {
        let option = |name: &str| options.iter().find(|(key, _)| key == name).map(|(_, json)| json);
        let snapshot = match option("snapshot") {
            None | Some(Json::Null) => false,
            Some(Json::Bool(snapshot)) => *snapshot,
            Some(_) => return Err(Error::bad_request("snapshot is true or false.")),
        };
        let since = parse_since(option("since"))?;
        let form = match option("form").map(Json::as_str) {
            None | Some(Some("diff")) => Form::Diff,
            Some(Some("full")) => Form::Full,
            Some(_) => return Err(Error::bad_request("form is \"diff\" or \"full\".")),
        };
        let view = descriptor.seen_by(principal);
        if !descriptor.group_by.iter().all(|field| view.shows(*field)) {
            // What it is about would tell of what is hidden.
            return Err(Error::permission_denied("You may not subscribe to this stream."));
        }
        let fields = option("fields").map(|json| parse_fields(&view, json)).transpose()?;
        let actions = option("actions").map(EventActions::parse).transpose()?.unwrap_or_default();
        let filter: Vec<(String, RawArgument)> = filter.into_iter().collect();
        for (key, _) in &filter {
            related::refuse(&view, key)?;
        }
        let mut filter = filter::parse(view, filter, limits)?;
        if let Some(key) = key {
            let of_key = filter::Predicate::of(descriptor.lookup, filter::Condition::OneOf(vec![key]));
            filter = filter.and(descriptor, Filter::new(descriptor, vec![of_key]));
        }
        let (filter, row_groups) = match RowGroups::of(descriptor, &filter, limits) {
            None => (filter, None),
            Some(RowGroups::Named(named)) => (named, None),
            Some(RowGroups::OfRows(query)) => (filter, Some(Box::new(query))),
        };
        let asked = Subscription::new(resource, descriptor, filter, fields, form, actions);
        let subscription = Arc::new(asked.seen_by(descriptor, principal));
        Ok(Self { subscription, start: Start { since, snapshot }, row_groups })
    }

    /// The same, if it says itself which row groups it is about.
    ///
    /// # Errors
    /// 400 where they would have to be found: those of the next request may be others.
    pub fn with_named_row_groups(self, descriptor: &Descriptor) -> Result<Self, Error> {
        if self.row_groups.is_none() {
            return Ok(self);
        }
        let refused = Error::new(Code::ValidationError, "A long poll has to say which groups it is about.");
        let names = descriptor.group_by.iter().map(|field| descriptor.fields[*field].name);
        Err(names.fold(refused, |error, name| error.and(name, "This field is required.")))
    }

    /// The same, about the row groups that were found. Those of another moment may have been others, so nothing that came
    /// before can be told.
    #[must_use]
    pub fn to_row_groups(self, descriptor: &Descriptor, principal: &Principal, groups: Filter) -> Self {
        let subscription = self.subscription.to_rows(descriptor, groups).seen_by(descriptor, principal);
        let since = self.start.since.map(|_| Cursor::NOWHERE);
        Self { subscription: Arc::new(subscription), start: Start { since, ..self.start }, row_groups: None }
    }
}

/// The cursor that is to be gone on from.
fn parse_since(json: Option<&Json>) -> Result<Option<Cursor>, Error> {
    let refused =
        || Error::bad_request("since is a cursor: that of an event, a reply, a ping or a list's feed.");
    match json {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => text.parse().map(Some).map_err(|_| refused()),
        Some(_) => Err(refused()),
    }
}

pub(crate) fn parse_fields(view: &View<'_>, json: &Json) -> Result<Vec<usize>, Error> {
    let names = json.as_array().ok_or_else(|| Error::bad_request("fields is a list of names."))?;
    names
        .iter()
        .map(|name| {
            let is_shown = |field: &usize| !view.descriptor().fields[*field].write_only;
            let field = name.as_str().and_then(|name| view.field_index(name)).filter(is_shown);
            field.ok_or_else(|| {
                let known: Vec<&str> =
                    view.shown().map(|field| view.descriptor().fields[field].name).collect();
                Error::new(Code::UnknownField, format!("{name} is not a field of this stream."))
                    .and("fields", format!("Choices are {}.", known.join(", ")))
            })
        })
        .collect()
}
