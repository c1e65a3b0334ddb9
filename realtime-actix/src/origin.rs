//! Which pages may open a socket, and write with a cookie: those of this server, and those that the application names.

use actix_web::HttpRequest;
use actix_web::http::header;
use actix_web::http::uri::Authority;

use crate::proxies::Proxies;

/// What the application says about where its pages come from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins {
    /// Origins that may, beside the server's own.
    pub(crate) allowed: Vec<String>,
    /// What stands between a browser and the server.
    pub(crate) proxies: Proxies,
}

impl Origins {
    /// Is the request from no browser, from a page of this very server, or from an allowed origin?
    pub(crate) fn allow(&self, request: &HttpRequest) -> bool {
        let mut origins = request.headers().get_all(header::ORIGIN);
        let Some(origin) = origins.next() else { return true };
        let (Ok(origin), None) = (origin.to_str(), origins.next()) else { return false };
        if self.allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) {
            return true;
        }
        let (host, is_secure) = (self.proxies.host(request), self.proxies.is_secure(request));
        let is_own = host.as_deref().is_some_and(|host| is_own(origin, host, is_secure));
        if !is_own {
            // Who does not expect it may have a proxy that is not declared.
            tracing::debug!(origin, ?host, ?is_secure, "a page of this origin is none of the server's");
        }
        is_own
    }
}

/// Can it be the origin of a page, as browsers send it? Any other would be allowed in vain, and `null` to everybody.
pub(crate) fn is_one(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let is_scheme = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let is_authority = authority.parse::<Authority>().is_ok() && !authority.contains(['@', '*', ',']);
    let port = authority.rsplit_once(':').filter(|_| !authority.ends_with(']')).map(|(_, port)| port);
    let is_port = port.is_none_or(|port| {
        let is_own =
            matches!((scheme.to_ascii_lowercase().as_str(), port), ("http", "80") | ("https", "443"));
        !is_own && !port.starts_with('0') && port.parse::<u16>().is_ok()
    });
    !scheme.is_empty() && is_scheme && is_authority && is_port
}

/// Is an origin that of a host that was asked for over TLS or not, where that is known?
fn is_own(origin: &str, host: &str, is_secure: Option<bool>) -> bool {
    let Some((scheme @ ("http" | "https"), authority)) = origin.split_once("://") else { return false };
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
    is_secure.is_none_or(|is_secure| is_secure == (scheme == "https"))
        && with_port(host) == with_port(authority)
}

#[cfg(test)]
mod tests {
    use actix_service::{IntoServiceFactory as _, ServiceFactory as _};
    use actix_web::dev::AppConfig;
    use actix_web::test::{self, TestRequest};
    use actix_web::{App, HttpResponse, web};

    use super::*;

    const HOST: &str = "forum.example:8080";

    fn origins() -> Origins {
        Origins {
            allowed: vec!["https://friend.example".to_owned()],
            proxies: Proxies::at(["10.0.0.1/32".parse().expect("a network")]),
        }
    }

    #[track_caller]
    fn check(origin: &[u8], expected: bool) {
        let value = header::HeaderValue::from_bytes(origin).expect("a header's value");
        let request = TestRequest::default()
            .insert_header((header::HOST, HOST))
            .insert_header((header::ORIGIN, value))
            .to_http_request();
        assert_eq!(origins().allow(&request), expected, "{}", String::from_utf8_lossy(origin));
    }

    #[test]
    fn pages_of_this_host_and_named_origins_are_allowed() {
        for origin in ["http://forum.example:8080", "http://FORUM.example:8080", "https://friend.example"] {
            check(origin.as_bytes(), true);
        }
    }

    /// What has passed for the own origin somewhere: by a prefix, a suffix, a regular expression, a lenient parser.
    #[test]
    fn no_other_origin_is_allowed() {
        let hostile: &[&[u8]] = &[
            b"",
            b"null",
            b"NULL",
            b"*",
            b"file://",
            b"about:blank",
            b"data:text/html,x",
            b"http://",
            b"https://",
            b"://forum.example:8080",
            b"//forum.example:8080",
            b"forum.example:8080",
            b"forum.example",
            b"http:forum.example:8080",
            b"http:/forum.example:8080",
            b"http:///forum.example:8080",
            b"HTTP://forum.example:8080x",
            b"ftp://forum.example:8080",
            b"ws://forum.example:8080",
            b"wss://forum.example:8080",
            b"chrome-extension://forum.example:8080",
            b"moz-extension://forum.example:8080",
            b"javascript://forum.example:8080",
            b"http://forum.example",
            b"https://forum.example",
            b"https://forum.example:8080",
            b"HTTPS://forum.example:8080",
            b"https://forum.example:443",
            b"https://FORUM.EXAMPLE:8080",
            b"http://forum.example:",
            b"http://forum.example:80",
            b"http://forum.example:8081",
            b"http://forum.example:808",
            b"http://forum.example:80800",
            b"http://forum.example:08080",
            b"http://forum.example:+8080",
            b"http://forum.example:8080:8080",
            b"http://forum.example:8080/",
            b"http://forum.example:8080/path",
            b"http://forum.example:8080?query",
            b"http://forum.example:8080#fragment",
            b"http://forum.example:8080 http://evil.example",
            b"http://forum.example:8080, http://evil.example",
            b"http://forum.example:8080\thttp://evil.example",
            b"http://forum.example:8080.evil.example",
            b"http://forum.example:8080@evil.example",
            b"http://forum.example:8080%00.evil.example",
            b"http://forum.example:8080%2eevil.example",
            b"http://user@forum.example:8080",
            b"http://user:password@forum.example:8080",
            b"http://evil.example",
            b"http://evil.example:8080",
            b"http://evil.example/http://forum.example:8080",
            b"http://evil.example?http://forum.example:8080",
            b"http://evil.example#http://forum.example:8080",
            b"http://evil-forum.example:8080",
            b"http://evilforum.example:8080",
            b"http://forum.example.evil.example:8080",
            b"http://sub.forum.example:8080",
            b"http://www.forum.example:8080",
            b"http://.forum.example:8080",
            b"http://forum.example.:8080",
            b"http://forum-example:8080",
            b"http://forumXexample:8080",
            b"http://forum.exampl:8080",
            b"http://forum.examples:8080",
            b"http://orum.example:8080",
            b"http://f%6frum.example:8080",
            b"http://xn--forum-example:8080",
            b"http://f\xd0\xberum.example:8080",
            b"http://forum.example:8080\xff",
            b"http://localhost:8080",
            b"http://127.0.0.1:8080",
            b"http://[::1]:8080",
            b"http://0:8080",
            b"http://friend.example",
            b"https://friend.example:443",
            b"https://friend.example:8443",
            b"https://friend.example/",
            b"https://friend.example.evil.example",
            b"https://evil.friend.example",
            b"https://friend.examples",
        ];
        assert!(hostile.len() >= 60);
        for origin in hostile {
            check(origin, false);
        }
    }

    #[test]
    fn what_no_browser_sends_is_not_allowed_in_vain() {
        for origin in [
            "https://app.example",
            "HTTPS://App.example",
            "http://app.example:8080",
            "https://app.example:80",
            "http://127.0.0.1:5173",
            "http://[::1]",
            "http://[::1]:5173",
            "https://xn--bcher-kva.example",
            "tauri://localhost",
            "chrome-extension://abcdefghijklmnop",
        ] {
            assert!(is_one(origin), "{origin}");
        }
        for nothing in [
            "",
            "*",
            "null",
            "NULL",
            "app.example",
            "//app.example",
            "://app.example",
            "https://",
            "https:app.example",
            "https://app.example/",
            "https://app.example/path",
            "https://app.example?query",
            "https://app.example#fragment",
            "https://app.example:443",
            "http://app.example:80",
            "https://app.example:",
            "https://app.example:0443",
            "https://app.example:65536",
            "https://app.example:port",
            "https://user@app.example",
            "https://app.example https://other.example",
            "https://app.example,https://other.example",
            " https://app.example",
            "https://*.app.example",
            "https://a.example,b.example",
            "https://b\u{fc}cher.example",
            "http://[::1",
            "http s://app.example",
        ] {
            assert!(!is_one(nothing), "{nothing}");
        }
    }

    #[test]
    fn two_origins_are_none() {
        let request = TestRequest::default()
            .insert_header((header::HOST, HOST))
            .append_header((header::ORIGIN, "http://forum.example:8080"))
            .append_header((header::ORIGIN, "http://forum.example:8080"))
            .to_http_request();
        assert!(!origins().allow(&request));
    }

    #[test]
    fn a_request_without_an_origin_is_no_browsers() {
        assert!(Origins::default().allow(&TestRequest::default().to_http_request()));
    }

    /// A page of the same host over the other scheme is another one's: whoever can change what a browser is sent
    /// without TLS would act for all who are logged in over it.
    #[actix_web::test]
    async fn a_page_of_the_other_scheme_is_of_another_origin() {
        let check = async |is_secure: bool, host: &str, origin: &str| {
            let answer = web::to(|request: HttpRequest| async move {
                HttpResponse::Ok().body(origins().allow(&request).to_string())
            });
            let local = "127.0.0.1:1".parse().expect("an address");
            // As a server has it that is bound with TLS, or without.
            let config = AppConfig::__priv_test_new(is_secure, "localhost".to_owned(), local);
            let factory = App::new().default_service(answer).into_factory();
            let service = factory.new_service(config).await.expect("a service");
            let request = TestRequest::default()
                .insert_header((header::HOST, host))
                .insert_header((header::ORIGIN, origin))
                // Anybody can say this.
                .insert_header(("x-forwarded-proto", if is_secure { "http" } else { "https" }))
                .peer_addr("10.0.0.2:5000".parse().expect("an address"))
                .to_request();
            test::call_and_read_body(&service, request).await == "true"
        };
        for host in ["forum.example", "forum.example:8080", "[::1]:8080", "127.0.0.1"] {
            let (open, secure) = (format!("http://{host}"), format!("https://{host}"));
            assert!(check(false, host, &open).await, "{open}");
            assert!(!check(false, host, &secure).await, "{secure}");
            assert!(!check(true, host, &open).await, "{open}");
            assert!(check(true, host, &secure).await, "{secure}");
        }
        assert!(check(false, "forum.example:80", "http://forum.example").await);
        assert!(check(true, "forum.example:443", "https://forum.example").await);
        assert!(!check(true, "forum.example:80", "https://forum.example").await);
        assert!(!check(true, "forum.example", "https://forum.example:80").await);
    }

    #[test]
    fn a_trusted_proxy_says_what_was_asked_for() {
        let allows = |peer: &str, forwarded: &[(&'static str, &str)], origin: &str| {
            let mut request = TestRequest::default()
                .peer_addr(format!("{peer}:5000").parse().expect("an address"))
                .insert_header((header::HOST, "backend:9000"))
                .insert_header((header::ORIGIN, origin));
            for header in forwarded {
                request = request.append_header(*header);
            }
            origins().allow(&request.to_http_request())
        };
        let (own, open, evil) = ("https://forum.example", "http://forum.example", "https://evil.example");
        let host = |host| ("x-forwarded-host", host);
        let proto = |proto| ("x-forwarded-proto", proto);
        let by_x = [host("forum.example"), proto("https")];
        let by_forwarded = [("forwarded", "for=192.0.2.1;host=forum.example;proto=https")];
        for peer in ["10.0.0.1", "[::ffff:10.0.0.1]"] {
            for forwarded in [&by_x[..], &by_forwarded] {
                assert!(allows(peer, forwarded, own));
                assert!(!allows(peer, forwarded, open), "the scheme is another one");
                assert!(!allows(peer, forwarded, evil));
                assert!(!allows(peer, forwarded, "http://backend:9000"));
            }
        }
        for (peer, forwarded) in [("10.0.0.2", &by_x[..]), ("10.0.0.2", &by_forwarded), ("[::1]", &by_x)] {
            assert!(!allows(peer, forwarded, own), "nobody else is believed");
            assert!(allows(peer, forwarded, "http://backend:9000"));
            assert!(!allows(peer, forwarded, "https://backend:9000"));
        }
        // What the client has begun is not the proxy's.
        assert!(allows("10.0.0.1", &[host("evil.example, forum.example"), proto("http, https")], own));
        assert!(!allows("10.0.0.1", &[host("evil.example, forum.example"), proto("http, https")], evil));
        assert!(!allows("10.0.0.1", &[host("evil.example"), host("forum.example"), proto("https")], evil));
        // A proxy that passes the host on, and one that says nothing of the scheme, which is then not known.
        assert!(allows("10.0.0.1", &[proto("https")], "https://backend:9000"));
        assert!(!allows("10.0.0.1", &[proto("https")], "http://backend:9000"));
        for origin in [own, open] {
            assert!(allows("10.0.0.1", &[host("forum.example")], origin), "{origin}");
        }
        assert!(!allows("10.0.0.1", &[host("")], own), "then it is the host's own header that counts");
    }
}
