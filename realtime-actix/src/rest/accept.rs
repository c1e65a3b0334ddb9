//! Which forms of an answer a caller reads: the header `Accept` (RFC 9110, section 12.5.1).

use actix_web::HttpRequest;
use actix_web::http::header;
use realtime_core::{Code, Error};

/// The media type of every answer that is no event stream.
pub(crate) const JSON: &str = "application/json";

/// Refuses a request whose answer its caller could not read.
///
/// # Errors
/// 406.
pub(crate) fn check(request: &HttpRequest, media_type: &str) -> Result<(), Error> {
    let mut ranges = request
        .headers()
        .get_all(header::ACCEPT)
        .flat_map(|value| value.to_str().unwrap_or_default().split(','))
        .map(str::trim)
        .filter(|range| !range.is_empty())
        .peekable();
    if ranges.peek().is_none() {
        return Ok(());
    }
    // Of several ranges that include the type, the narrowest one decides.
    let narrowest = ranges.filter_map(|range| included(range, media_type)).max_by_key(|(width, _)| *width);
    match narrowest {
        Some((_, true)) => Ok(()),
        _ => Err(Error::new(Code::NotAcceptable, format!("The answer is {media_type}."))),
    }
}

/// How narrowly a range includes a media type, and whether that is wanted; `None` where it does not include it.
fn included(range: &str, media_type: &str) -> Option<(u8, bool)> {
    let mut parts = range.split(';').map(str::trim);
    let range = parts.next()?.to_ascii_lowercase();
    let (main, _) = media_type.split_once('/')?;
    let width = match range.split_once('/')? {
        ("*", "*") => 0,
        (of, "*") if of == main => 1,
        _ if range == media_type => 2,
        _ => return None,
    };
    let quality =
        parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.eq_ignore_ascii_case("q"));
    let wanted = quality.is_none_or(|(_, value)| value.trim().parse::<f32>().is_ok_and(|value| value > 0.0));
    Some((width, wanted))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_narrowest_range_decides() {
        for (accept, expected) in [
            ("application/json", true),
            ("APPLICATION/JSON", true),
            ("*/*", true),
            ("application/*", true),
            ("text/html, application/xhtml+xml, */*;q=0.8", true),
            ("text/html, application/json;q=0.1", true),
            ("application/json; charset=utf-8", true),
            ("text/html, */*;q=0", false),
            ("*/*, application/json;q=0", false),
            ("application/json;q=0.000, application/*", false),
            ("application/json;q=x", false),
            ("application/json, */*;q=0", true),
            ("text/html", false),
            ("text/*", false),
            ("application/problem+json", false),
            ("json", false),
            ("*", false),
            ("", true),
            (" , ", true),
        ] {
            let request = TestRequest::default().insert_header((header::ACCEPT, accept)).to_http_request();
            assert_eq!(check(&request, JSON).is_ok(), expected, "{accept}");
        }
        assert!(check(&TestRequest::default().to_http_request(), JSON).is_ok());
        let twice = TestRequest::default()
            .append_header((header::ACCEPT, "text/html"))
            .append_header((header::ACCEPT, "application/json"))
            .to_http_request();
        assert!(check(&twice, JSON).is_ok());
    }
}
