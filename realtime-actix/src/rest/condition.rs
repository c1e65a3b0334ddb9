//! Headers that make a request depend on something: `If-Match`, `If-None-Match`, `Idempotency-Key`.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderName};
use realtime_core::idempotency::{KEY_BYTES, Once};
use realtime_core::{Condition, Error, Limits, Tags};

/// The tags that a request names.
///
/// # Errors
/// 400 where a header is no list of entity tags.
pub(super) fn of(request: &HttpRequest) -> Result<Condition, Error> {
    Ok(Condition {
        // Only a strong tag says that nothing at all has changed.
        matches: tags(request, &header::IF_MATCH, false)?,
        matches_none: tags(request, &header::IF_NONE_MATCH, true)?,
    })
}

fn tags(request: &HttpRequest, name: &HeaderName, weak: bool) -> Result<Option<Tags>, Error> {
    let malformed = || Error::bad_request(format!("{name} is no list of entity tags."));
    let mut values = request.headers().get_all(name).peekable();
    if values.peek().is_none() {
        return Ok(None);
    }
    let mut tags = Vec::new();
    for value in values {
        let mut rest = value.to_str().map_err(|_| malformed())?.trim();
        if rest == "*" {
            return Ok(Some(Tags::Any));
        }
        while !rest.is_empty() {
            let (is_weak, quoted) = match rest.strip_prefix("W/") {
                Some(quoted) => (true, quoted),
                None => (false, rest),
            };
            let (tag, after) =
                quoted.strip_prefix('"').and_then(|text| text.split_once('"')).ok_or_else(malformed)?;
            if weak || !is_weak {
                tags.push(tag.to_owned());
            }
            let after = after.trim_start();
            rest = match after.strip_prefix(',') {
                Some(next) => next.trim_start(),
                None if after.is_empty() => after,
                None => return Err(malformed()),
            };
        }
    }
    Ok(Some(Tags::These(tags)))
}

/// The key by which a create that is sent once more is known.
///
/// # Errors
/// 400 where it is none.
pub(super) fn once(request: &HttpRequest, limits: &Limits) -> Result<Option<Once>, Error> {
    let mut keys = request.headers().get_all("idempotency-key");
    let Some(key) = keys.next() else { return Ok(None) };
    let is_visible = |key: &&str| key.bytes().all(|byte| byte.is_ascii_graphic());
    let key = key.to_str().ok().filter(|key| KEY_BYTES.contains(&key.len())).filter(is_visible);
    let (Some(key), None) = (key, keys.next()) else {
        return Err(Error::bad_request("Idempotency-Key is one text of 1 to 255 visible ASCII characters."));
    };
    Ok(Some(Once {
        key: key.to_owned(),
        seconds: limits.idempotency_seconds,
        answers: limits.idempotency_answers,
    }))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn parsed(name: &HeaderName, weak: bool, text: &str) -> Option<Option<Tags>> {
        let request = TestRequest::default().insert_header((name.clone(), text)).to_http_request();
        tags(&request, name, weak).ok()
    }

    #[test]
    fn a_list_of_tags_is_read_as_it_may_be_written() {
        let these = |tags: &[&str]| Some(Some(Tags::These(tags.iter().map(|&tag| tag.to_owned()).collect())));
        for (text, strong, weak) in [
            (r#""a""#, &["a"][..], &["a"][..]),
            (r#""a", "b""#, &["a", "b"], &["a", "b"]),
            (r#"  "a"  ,"b","#, &["a", "b"], &["a", "b"]),
            (r#"W/"a", "b""#, &["b"], &["a", "b"]),
            (r#""a,b", "*""#, &["a,b", "*"], &["a,b", "*"]),
            (r#""""#, &[""], &[""]),
            ("", &[], &[]),
        ] {
            assert_eq!(parsed(&header::IF_MATCH, false, text), these(strong), "{text}");
            assert_eq!(parsed(&header::IF_NONE_MATCH, true, text), these(weak), "{text}");
        }
        assert_eq!(parsed(&header::IF_MATCH, false, "*"), Some(Some(Tags::Any)));
        for malformed in ["a", r#""a"#, r#"a""#, r#""a" "b""#, r#""a"b"#, "w/\"a\"", "W/ \"a\"", "\"a\", *"] {
            assert_eq!(parsed(&header::IF_MATCH, false, malformed), None, "{malformed}");
        }
    }
}
