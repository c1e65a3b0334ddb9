//! What a request to one object depends on: the state in which the caller has seen it last.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::error::{Code, Error};

/// Names the state of an object as somebody is shown it: equal objects have equal tags.
///
/// It is made of what is shown and of nothing else, so that it tells nothing of what is not.
pub fn tag(object: &str) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(object)[..16])
}

/// Tags that a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags {
    /// That of any state.
    Any,
    /// These.
    These(Vec<String>),
}

impl Tags {
    fn contain(&self, tag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(|named| named == tag),
        }
    }
}

/// In which state an object must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// One with these tags.
    pub matches: Option<Tags>,
    /// One with none of these.
    pub matches_none: Option<Tags>,
}

impl Condition {
    /// Is anything asked?
    pub fn is_empty(&self) -> bool {
        self.matches.is_none() && self.matches_none.is_none()
    }

    /// Is the object in one of the states that are asked for? `object` is made only where that matters.
    ///
    /// # Errors
    /// 412 where it is not.
    pub fn check(&self, object: impl FnOnce() -> String) -> Result<(), Error> {
        if self.is_empty() {
            return Ok(());
        }
        let tag = tag(&object());
        let is_met = self.matches.as_ref().is_none_or(|tags| tags.contain(&tag))
            && !self.matches_none.as_ref().is_some_and(|tags| tags.contain(&tag));
        if is_met { Ok(()) } else { Err(failed("The object is not in the state that the request asks for.")) }
    }

    /// Can it be met where there is no object yet?
    ///
    /// # Errors
    /// 412 where it asks for an object.
    pub fn check_absent(&self) -> Result<(), Error> {
        match self.matches {
            None => Ok(()),
            Some(_) => Err(failed("There is no object yet whose state could be asked for.")),
        }
    }

    /// Has the caller the object already?
    pub fn is_known(&self, tag: &str) -> bool {
        self.matches_none.as_ref().is_some_and(|tags| tags.contain(tag))
    }
}

fn failed(detail: &str) -> Error {
    Error::new(Code::PreconditionFailed, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_about_the_state_of_the_object() {
        let these = |objects: &[&str]| Some(Tags::These(objects.iter().map(|object| tag(object)).collect()));
        let check = |matches: Option<Tags>, matches_none: Option<Tags>| {
            Condition { matches, matches_none }.check(|| "now".to_owned()).is_ok()
        };
        assert!(check(None, None));
        assert!(check(these(&["before", "now"]), None));
        assert!(!check(these(&["before"]), None));
        assert!(!check(these(&[]), None));
        assert!(check(Some(Tags::Any), None));
        assert!(check(None, these(&["before"])));
        assert!(!check(None, these(&["now"])));
        assert!(!check(None, Some(Tags::Any)));
        assert!(!check(these(&["now"]), these(&["now"])));
        let met = Condition { matches: Some(Tags::Any), matches_none: None }.check_absent();
        assert_eq!(met.expect_err("there is none").code(), Code::PreconditionFailed);
        let met = Condition { matches: None, matches_none: Some(Tags::Any) }.check_absent();
        assert!(met.is_ok());
    }
}
