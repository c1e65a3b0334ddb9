//! What a connection asks to be told of, and the id by which both sides know it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::change::ResourceId;
use crate::error::Error;
use crate::filter::Filter;
use crate::resource::Descriptor;

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
    pub fn parse(json: &serde_json::Value) -> Result<Self, Error> {
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
    fields: Vec<usize>,
    form: Form,
    actions: EventActions,
    identity: String,
    id: String,
    /// What tells its group from others where not everybody sees the same rows.
    visibility: Option<String>,
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
        let all = 0..descriptor.fields.len();
        let shown = |field: &usize| {
            fields.as_ref().is_none_or(|some| some.contains(field) || *field == descriptor.key)
        };
        let fields: Vec<usize> = all.filter(shown).collect();
        let mut names: Vec<&str> = fields.iter().map(|field| descriptor.fields[*field].name).collect();
        names.sort_unstable();
        // Names, never indexes or addresses: the same subscription has the same id on every node and after every build.
        let identity = format!(
            "{}\n{}\n{}\n{form:?}\n{}",
            descriptor.stream,
            filter.canonical(),
            if fields.len() == descriptor.fields.len() { "*".to_owned() } else { names.join(",") },
            actions.0
        );
        let id = URL_SAFE_NO_PAD.encode(&Sha256::digest(identity.as_bytes())[..16]);
        Self { resource, filter, fields, form, actions, identity, id, visibility: None }
    }

    /// The same subscription of somebody for whom only some rows exist. Its id stays: it says what was asked for.
    #[must_use]
    pub fn seeing(mut self, descriptor: &Descriptor, visible: Filter) -> Self {
        if !visible.is_all() {
            self.visibility = Some(format!("{}\n{}", self.identity, visible.canonical()));
            self.filter = self.filter.and(descriptor, visible);
        }
        self
    }

    /// Whose rows it is about.
    pub fn resource(&self) -> ResourceId {
        self.resource
    }

    /// Which rows it is about: those that were asked for and exist for whoever asked.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// The fields that its events show, by index, the key among them.
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

    /// The same text, and what whoever asked may see: whose subscriptions have it are told the same. Groups are found by
    /// it.
    pub fn group_identity(&self) -> &str {
        self.visibility.as_deref().unwrap_or(&self.identity)
    }

    /// The id on the wire: the first 128 bits of the SHA-256 of the identity, in base64url.
    pub fn id(&self) -> &str {
        &self.id
    }
}
