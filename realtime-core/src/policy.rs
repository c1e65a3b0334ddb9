//! Who may do what, and see which rows: what an application says of a resource, and how it is asked.

use crate::context::Principal;
use crate::custom::{self, CustomAction, Decide};
use crate::error::Error;
use crate::filter::Filter;
use crate::resource::{Action, RealtimeResource, Record};
use crate::rows::{FieldOf, Rows};
use crate::view::Fields;

/// Whether something is allowed, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// The row decides. Where there is none to come, this counts as no.
    ByRow,
}

impl Verdict {
    /// Allowed if so.
    pub const fn when(allowed: bool) -> Self {
        if allowed { Self::Yes } else { Self::No }
    }

    // Kleene's three values: what is not known yet decides only where nothing else does.

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::ByRow,
        }
    }

    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::No, Self::No) => Self::No,
            _ => Self::ByRow,
        }
    }

    fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::ByRow => Self::ByRow,
        }
    }
}

/// A question of permission: once before the row is looked for, and, for actions on a row, once more with it.
#[derive(Debug)]
pub struct Ask<'a, M> {
    /// Who asks.
    pub principal: &'a Principal,
    /// What for.
    pub action: Action,
    /// The row that the action is about, as it is; `None` where it is not known yet, or there is none.
    pub row: Option<&'a M>,
}

/// What says who may do what with the rows of a model. A function of the principal is one too.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no rule about `{M}`",
    label = "no rule about `{M}`",
    note = "rules are those of the module `policy`, and functions such as `|principal: &Principal| ..` that give a `bool`",
    note = "`IsOwner(column)` is about a model that has a field for the column"
)]
pub trait Permission<M> {
    /// Is it allowed?
    fn decide(&self, ask: &Ask<'_, M>) -> Verdict;
}

/// What can be put together to a permission. Beside [`Permission`], because a rule such as [`IsAuthenticated`] is one
/// for every model.
pub trait Rule: Sized {
    /// Both must allow it.
    fn and<R: Rule>(self, other: R) -> And<Self, R> {
        And(self, other)
    }

    /// One must allow it.
    fn or<R: Rule>(self, other: R) -> Or<Self, R> {
        Or(self, other)
    }

    /// Allows what the rule does not, whoever asks.
    fn not(self) -> Not<Self> {
        Not(self)
    }

    /// Allows only the given actions, and those as the rule does.
    fn on(self, actions: &'static [Action]) -> On<Self> {
        On(self, actions)
    }
}

impl<F: Fn(&Principal) -> bool> Rule for F {}
impl Rule for AllowAny {}
impl Rule for ReadOnly {}
impl Rule for IsAuthenticated {}
impl<C> Rule for IsOwner<C> {}
impl<L: Rule, R: Rule> Rule for And<L, R> {}
impl<L: Rule, R: Rule> Rule for Or<L, R> {}
impl<R: Rule> Rule for Not<R> {}
impl<R: Rule> Rule for On<R> {}

#[diagnostic::do_not_recommend]
impl<M, F: Fn(&Principal) -> bool> Permission<M> for F {
    fn decide(&self, ask: &Ask<'_, M>) -> Verdict {
        Verdict::when(self(ask.principal))
    }
}

/// Everybody may do everything.
#[derive(Clone, Copy, Debug)]
pub struct AllowAny;

impl<M> Permission<M> for AllowAny {
    fn decide(&self, _ask: &Ask<'_, M>) -> Verdict {
        Verdict::Yes
    }
}

/// Everybody may read and follow, nobody may write. What a resource has that says nothing.
#[derive(Clone, Copy, Debug)]
pub struct ReadOnly;

impl<M> Permission<M> for ReadOnly {
    fn decide(&self, ask: &Ask<'_, M>) -> Verdict {
        Verdict::when(!ask.action.writes())
    }
}

/// Whoever is logged in may do everything.
#[derive(Clone, Copy, Debug)]
pub struct IsAuthenticated;

impl<M> Permission<M> for IsAuthenticated {
    fn decide(&self, ask: &Ask<'_, M>) -> Verdict {
        Verdict::when(!ask.principal.is_anonymous())
    }
}

/// The user whose key stands in a column of the row, given as Diesel names it: `IsOwner(comments::author_id)`. Says
/// nothing about actions without a row: a create makes one of the caller's own.
#[derive(Clone, Copy, Debug)]
pub struct IsOwner<C>(pub C);

impl<C, M: FieldOf<C>> Permission<M> for IsOwner<C> {
    fn decide(&self, ask: &Ask<'_, M>) -> Verdict {
        match ask.row {
            _ if ask.principal.is_anonymous() => Verdict::No,
            None => Verdict::ByRow,
            Some(row) => Verdict::when(ask.principal.is_user(&row.value(M::INDEX))),
        }
    }
}

/// See [`Rule::and`].
#[derive(Clone, Copy, Debug)]
pub struct And<L, R>(L, R);

impl<M, L: Permission<M>, R: Permission<M>> Permission<M> for And<L, R> {
    fn decide(&self, ask: &Ask<'_, M>) -> Verdict {
        self.0.decide(ask).and(self.1.decide(ask))
    }
}

/// See [`Rule::or`].
#[derive(Clone, Copy, Debug)]
pub struct Or<L, R>(L, R);

impl<M, L: Permission<M>, R: Permission<M>> Permission<M> for Or<L, R> {
    fn decide(&self, ask: &Ask<'_, M>) -> Verdict {
        self.0.decide(ask).or(self.1.decide(ask))
    }
}

/// See [`Rule::not`].
#[derive(Clone, Copy, Debug)]
pub struct Not<P>(P);

impl<M, P: Permission<M>> Permission<M> for Not<P> {
    fn decide(&self, ask: &Ask<'_, M>) -> Verdict {
        self.0.decide(ask).not()
    }
}

/// See [`Rule::on`].
#[derive(Clone, Copy, Debug)]
pub struct On<P>(P, &'static [Action]);

impl<M, P: Permission<M>> Permission<M> for On<P> {
    fn decide(&self, ask: &Ask<'_, M>) -> Verdict {
        if self.1.contains(&ask.action) { self.0.decide(ask) } else { Verdict::No }
    }
}

/// What an application says of a resource: who may do what, and who sees which rows and fields.
///
/// A resource with `#[realtime(permission = ..)]` has the rule that stands there, and everybody sees all of it; one
/// with `#[realtime(policy)]` implements the trait itself; one with neither can be read by everybody and written by
/// nobody.
#[diagnostic::on_unimplemented(
    message = "`{Self}` announces a policy and has none",
    note = "write `impl Policy for {Self}`, or a rule in the attribute: `permission = ..`"
)]
pub trait Policy: RealtimeResource {
    /// May this be done?
    fn permission(ask: &Ask<'_, Self>) -> Verdict {
        ReadOnly.decide(ask)
    }

    /// The rows that exist for somebody. All others do not: they are not found, not listed, not counted, not told of,
    /// and a row that comes into them or leaves them is made or deleted as far as he knows.
    ///
    /// It is asked anew for every request and every subscription, so it should look at nothing but the principal.
    fn visible(principal: &Principal) -> Rows<Self> {
        let _ = principal;
        Rows::all()
    }

    /// The fields that do not exist for somebody. They are in no answer and no event, and a change of nothing else is
    /// not told; a filter, an order, `fields` or a payload that names one is refused as if there were no such field.
    /// When he creates a row, they get what they have as defaults, or what [`Hooks`](crate::Hooks) set; when he
    /// replaces one, they stay as they are.
    ///
    /// Like [`visible`](Policy::visible) it is asked anew each time, and should look at nothing but the principal. What
    /// is visible may well depend on a hidden field.
    fn hidden(principal: &Principal) -> Fields<Self> {
        let _ = principal;
        Fields::none()
    }
}

/// The policy of a resource, without its type.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    decide: Decide,
    visible: fn(&Principal) -> Filter,
    hidden: fn(&Principal) -> Vec<usize>,
}

impl Rules {
    /// The policy of a model.
    pub const fn of<M: Policy>() -> Self {
        Self {
            decide: |principal, action, row| custom::decide(principal, action, row, M::permission),
            visible: |principal| M::visible(principal).into_filter(),
            hidden: |principal| M::hidden(principal).into_indexes(),
        }
    }

    #[cfg(test)]
    pub(crate) const OF_EVERYBODY: Self =
        Self { decide: |_, _, _| Verdict::Yes, visible: |_| Filter::all(), hidden: |_| Vec::new() };

    /// The rows that exist for somebody.
    pub fn visible(&self, principal: &Principal) -> Filter {
        (self.visible)(principal)
    }

    /// The indexes of the fields that do not exist for somebody, sorted; the key is none of them.
    pub(crate) fn hidden(&self, principal: &Principal) -> Vec<usize> {
        (self.hidden)(principal)
    }

    /// May the action be refused before anything else of the request is looked at?
    ///
    /// # Errors
    /// 401 where nobody is logged in and the action is not for everybody; 403 for an action without a row. Whoever is
    /// logged in and names a row first learns whether there is one.
    pub fn admit(&self, principal: &Principal, action: Action) -> Result<(), Error> {
        admitted((self.decide)(principal, action, None), principal, action.needs_key())
    }

    /// The same of an action of the application's.
    ///
    /// # Errors
    /// As there.
    pub fn admit_custom(&self, principal: &Principal, custom: &CustomAction) -> Result<(), Error> {
        let decide = custom.permission.unwrap_or(self.decide);
        admitted(decide(principal, custom.action(), None), principal, custom.on_row)
    }

    /// May the action be carried out on this row?
    ///
    /// # Errors
    /// 403, or 401 where nobody is logged in.
    pub fn admit_to(&self, principal: &Principal, action: Action, row: &dyn Record) -> Result<(), Error> {
        admitted_to((self.decide)(principal, action, Some(row)), principal)
    }

    /// The same of an action of the application's.
    ///
    /// # Errors
    /// As there.
    pub fn admit_custom_to(
        &self,
        principal: &Principal,
        custom: &CustomAction,
        row: &dyn Record,
    ) -> Result<(), Error> {
        let decide = custom.permission.unwrap_or(self.decide);
        admitted_to(decide(principal, custom.action(), Some(row)), principal)
    }
}

fn admitted(verdict: Verdict, principal: &Principal, on_row: bool) -> Result<(), Error> {
    match verdict {
        Verdict::Yes => Ok(()),
        Verdict::ByRow if on_row => Ok(()),
        _ if principal.is_anonymous() => Err(Error::not_authenticated()),
        _ if on_row => Ok(()),
        _ => Err(forbidden()),
    }
}

fn admitted_to(verdict: Verdict, principal: &Principal) -> Result<(), Error> {
    match verdict {
        Verdict::Yes => Ok(()),
        _ if principal.is_anonymous() => Err(Error::not_authenticated()),
        _ => Err(forbidden()),
    }
}

fn forbidden() -> Error {
    Error::permission_denied("You do not have permission to perform this action.")
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERDICTS: [Verdict; 3] = [Verdict::Yes, Verdict::No, Verdict::ByRow];

    /// What is not known yet may turn out either way: what is said already must hold for both.
    #[test]
    fn what_is_said_without_the_row_stays_true_with_it() {
        let outcomes = |verdict| match verdict {
            Verdict::ByRow => vec![Verdict::Yes, Verdict::No],
            known => vec![known],
        };
        for left in VERDICTS {
            for right in VERDICTS {
                for (early, late) in
                    [(left.and(right), Verdict::and as fn(_, _) -> _), (left.or(right), Verdict::or)]
                {
                    let late: Vec<Verdict> = outcomes(left)
                        .into_iter()
                        .flat_map(|left| outcomes(right).into_iter().map(move |right| late(left, right)))
                        .collect();
                    match early {
                        Verdict::ByRow => {
                            assert!(late.contains(&Verdict::Yes) && late.contains(&Verdict::No));
                        }
                        known => assert!(late.iter().all(|late| *late == known)),
                    }
                }
            }
            assert_eq!(left.not().not(), left);
        }
    }
}
