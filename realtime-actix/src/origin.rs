//! Which pages may open a socket: those of this server, and those that the application names.

use actix_web::HttpRequest;
use actix_web::http::header;

/// Is the handshake from no browser, from a page of this very host, or from an allowed origin?
pub(crate) fn is_allowed(request: &HttpRequest, allowed: &[String]) -> bool {
    let mut origins = request.headers().get_all(header::ORIGIN);
    let Some(origin) = origins.next() else { return true };
    let (Ok(origin), None) = (origin.to_str(), origins.next()) else { return false };
    if allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) {
        return true;
    }
    let Some((scheme @ ("http" | "https"), authority)) = origin.split_once("://") else { return false };
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let default_port = if scheme == "http" { "80" } else { "443" };
    let with_port = |authority: &str| {
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
        if has_port {
            authority.to_ascii_lowercase()
        } else {
            format!("{}:{default_port}", authority.to_ascii_lowercase())
        }
    };
    host.is_some_and(|host| with_port(host) == with_port(authority))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[track_caller]
    fn check(origin: &str, expected: bool) {
        let request = TestRequest::default()
            .insert_header((header::HOST, "forum.example:8080"))
            .insert_header((header::ORIGIN, origin))
            .to_http_request();
        assert_eq!(is_allowed(&request, &["https://friend.example".to_owned()]), expected, "{origin}");
    }

    #[test]
    fn only_this_host_and_named_origins_may_open_a_socket() {
        for origin in ["http://forum.example:8080", "http://FORUM.example:8080", "https://friend.example"] {
            check(origin, true);
        }
        for origin in [
            "null",
            "",
            "http://forum.example",
            "http://forum.example:8081",
            "http://forum.example:8080.evil.example",
            "http://evil.example",
            "http://evil.example/http://forum.example:8080",
            "ftp://forum.example:8080",
            "http://user@forum.example:8080",
            "https://friend.example.evil.example",
            "http://sub.forum.example:8080",
        ] {
            check(origin, false);
        }
    }

    #[test]
    fn a_handshake_without_an_origin_is_no_browsers() {
        assert!(is_allowed(&TestRequest::default().to_http_request(), &[]));
    }
}
