//! Which pages may open a socket, and write with a cookie: those of this server, and those that the application names.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header;

/// What the application says about where its pages come from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins {
    /// Origins that may, beside the server's own.
    pub(crate) allowed: Vec<String>,
    /// Proxies that say which host the browser asked for.
    pub(crate) proxies: Vec<IpAddr>,
}

impl Origins {
    /// Is the request from no browser, from a page of this very host, or from an allowed origin?
    pub(crate) fn allow(&self, request: &HttpRequest) -> bool {
        let mut origins = request.headers().get_all(header::ORIGIN);
        let Some(origin) = origins.next() else { return true };
        let (Ok(origin), None) = (origin.to_str(), origins.next()) else { return false };
        if self.allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) {
            return true;
        }
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
        self.host(request).is_some_and(|host| with_port(host) == with_port(authority))
    }

    /// The address that a request comes from, as far as trusted proxies say: of a chain of addresses in
    /// `X-Forwarded-For`, which anybody may begin, the last one that is no proxy's.
    pub(crate) fn address(&self, request: &HttpRequest) -> Option<IpAddr> {
        let mut address = request.peer_addr()?.ip().to_canonical();
        let headers: Vec<&str> = request
            .headers()
            .get_all("x-forwarded-for")
            .map(|addresses| addresses.to_str().unwrap_or_default())
            .collect();
        let mut forwarded = headers.iter().rev().flat_map(|addresses| addresses.rsplit(','));
        while self.proxies.contains(&address) {
            match forwarded.next().map(|text| text.trim().parse::<IpAddr>()) {
                Some(Ok(before)) => address = before.to_canonical(),
                // Where a proxy says nothing that can be read, it is its own.
                _ => break,
            }
        }
        Some(address)
    }

    /// The host that the browser asked for.
    ///
    /// A header that says so is believed of a proxy that is trusted only: whoever reaches the server without one could
    /// write anything into it. Of several values the last one is the proxy's own.
    fn host<'a>(&self, request: &'a HttpRequest) -> Option<&'a str> {
        let text =
            |name: &str| request.headers().get_all(name).next_back().and_then(|host| host.to_str().ok());
        let is_trusted =
            request.peer_addr().is_some_and(|peer| self.proxies.contains(&peer.ip().to_canonical()));
        let forwarded = if is_trusted { text("x-forwarded-host") } else { None };
        forwarded
            .and_then(|hosts| hosts.rsplit(',').next())
            .map(str::trim)
            .filter(|host| !host.is_empty())
            .or_else(|| text("host"))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const HOST: &str = "forum.example:8080";

    fn origins() -> Origins {
        Origins {
            allowed: vec!["https://friend.example".to_owned()],
            proxies: vec!["10.0.0.1".parse().expect("an address")],
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

    #[test]
    fn a_trusted_proxy_says_which_host_was_asked_for() {
        let allows = |peer: &str, forwarded: &[&str], origin: &str| {
            let mut request = TestRequest::default()
                .peer_addr(format!("{peer}:5000").parse().expect("an address"))
                .insert_header((header::HOST, "backend:9000"))
                .insert_header((header::ORIGIN, origin));
            for host in forwarded {
                request = request.append_header(("x-forwarded-host", *host));
            }
            origins().allow(&request.to_http_request())
        };
        let (own, evil) = ("https://forum.example", "https://evil.example");
        assert!(allows("10.0.0.1", &["forum.example"], own));
        assert!(allows("10.0.0.1", &["evil.example, forum.example"], own));
        assert!(allows("10.0.0.1", &["evil.example", "forum.example"], own));
        assert!(!allows("10.0.0.1", &["evil.example, forum.example"], evil));
        assert!(!allows("10.0.0.1", &["evil.example", "forum.example"], evil));
        assert!(!allows("10.0.0.1", &[""], own), "then it is the host's own header that counts");
        assert!(allows("10.0.0.1", &[], "http://backend:9000"));
        assert!(!allows("10.0.0.2", &["forum.example"], own), "nobody else is believed");
        assert!(!allows("10.0.0.2", &["evil.example"], evil));
        assert!(allows("[::ffff:10.0.0.1]", &["forum.example"], own), "the same address");
    }

    #[test]
    fn a_trusted_proxy_says_where_a_request_comes_from() {
        let address = |peer: &str, forwarded: &[&str]| {
            let mut request =
                TestRequest::default().peer_addr(format!("{peer}:5000").parse().expect("an address"));
            for addresses in forwarded {
                request = request.append_header(("x-forwarded-for", *addresses));
            }
            let proxies = vec![[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
            let origins = Origins { proxies, ..Origins::default() };
            origins.address(&request.to_http_request()).expect("it has one").to_string()
        };
        assert_eq!(address("1.2.3.4", &[]), "1.2.3.4");
        assert_eq!(address("1.2.3.4", &["5.6.7.8"]), "1.2.3.4", "nobody else is believed");
        assert_eq!(address("10.0.0.1", &["5.6.7.8"]), "5.6.7.8");
        assert_eq!(address("[::ffff:10.0.0.1]", &["::ffff:5.6.7.8"]), "5.6.7.8");
        assert_eq!(
            address("10.0.0.1", &["6.6.6.6, 5.6.7.8"]),
            "5.6.7.8",
            "the client may have begun the chain"
        );
        assert_eq!(address("10.0.0.1", &["6.6.6.6", "5.6.7.8 , 10.0.0.2"]), "5.6.7.8", "a chain of proxies");
        assert_eq!(address("10.0.0.1", &["6.6.6.6, 2001:db8::1"]), "2001:db8::1");
        for nothing in ["", "unknown", "5.6.7.8:1234, ", "_hidden"] {
            assert_eq!(address("10.0.0.1", &[nothing]), "10.0.0.1", "{nothing:?}");
        }
    }
}
