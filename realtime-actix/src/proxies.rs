//! What stands between a browser and the server: the proxies that are believed what they say of a request.

use std::borrow::Cow;
use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header;
use actix_web::http::uri::Authority;

/// The addresses of proxies that are trusted.
///
/// What a header says of another host, scheme or address is believed of them only: whoever reaches the server without a
/// proxy could write anything into it. Of several values the last one is the proxy's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies(Vec<IpAddr>);

impl Proxies {
    #[cfg(test)]
    pub(crate) fn at(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self(addresses.into_iter().collect())
    }

    pub(crate) fn add(&mut self, address: IpAddr) {
        self.0.push(address.to_canonical());
    }

    /// The address that a request comes from, as far as proxies say: of a chain of addresses in `X-Forwarded-For`, which
    /// anybody may begin, the last one that is no proxy's.
    pub(crate) fn address(&self, request: &HttpRequest) -> Option<IpAddr> {
        let mut address = request.peer_addr()?.ip().to_canonical();
        let headers: Vec<&str> = request
            .headers()
            .get_all("x-forwarded-for")
            .map(|addresses| addresses.to_str().unwrap_or_default())
            .collect();
        let mut forwarded = headers.iter().rev().flat_map(|addresses| addresses.rsplit(','));
        while self.0.contains(&address) {
            match forwarded.next().map(|text| text.trim().parse::<IpAddr>()) {
                Some(Ok(before)) => address = before.to_canonical(),
                // Where a proxy says nothing that can be read, it is its own.
                _ => break,
            }
        }
        Some(address)
    }

    /// The host that the browser asked for, with the port if it named one.
    pub(crate) fn host<'r>(&self, request: &'r HttpRequest) -> Option<Cow<'r, str>> {
        self.said(request, "x-forwarded-host", "host").or_else(|| {
            let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
            // HTTP/2 has no such header.
            named.or_else(|| request.uri().authority().map(Authority::as_str)).map(Cow::Borrowed)
        })
    }

    /// Did the browser ask over TLS? That is known of the server's own connections, and where a proxy says so.
    pub(crate) fn is_secure(&self, request: &HttpRequest) -> Option<bool> {
        if !self.is_trusted(request) {
            return Some(request.app_config().secure());
        }
        let scheme = self.said(request, "x-forwarded-proto", "proto")?.to_ascii_lowercase();
        match scheme.as_str() {
            // Of a handshake some say it in the words of the socket.
            "https" | "wss" => Some(true),
            "http" | "ws" => Some(false),
            _ => None,
        }
    }

    fn is_trusted(&self, request: &HttpRequest) -> bool {
        request.peer_addr().is_some_and(|peer| self.0.contains(&peer.ip().to_canonical()))
    }

    /// What a proxy says of a request, in a header for that alone or else in `Forwarded`.
    fn said<'r>(&self, request: &'r HttpRequest, name: &str, parameter: &str) -> Option<Cow<'r, str>> {
        if !self.is_trusted(request) {
            return None;
        }
        let last =
            |name: &str| request.headers().get_all(name).next_back().and_then(|text| text.to_str().ok());
        let alone = last(name).and_then(|values| values.rsplit(',').next()).map(str::trim);
        match alone.filter(|value| !value.is_empty()) {
            Some(value) => Some(Cow::Borrowed(value)),
            None => forwarded(last("forwarded")?, parameter).map(Cow::Owned),
        }
    }
}

/// A parameter of the last element of a header `Forwarded` (RFC 7239).
fn forwarded(header: &str, parameter: &str) -> Option<String> {
    let (mut found, mut text, mut is_quoted) = (None, String::new(), false);
    let mut characters = header.chars();
    loop {
        match characters.next() {
            Some('\\') if is_quoted => text.extend(characters.next()),
            Some('"') => is_quoted = !is_quoted,
            Some(character) if is_quoted => text.push(character),
            separator @ (Some(';' | ',') | None) => {
                let pair = std::mem::take(&mut text);
                if let Some((name, value)) = pair.split_once('=')
                    && name.trim().eq_ignore_ascii_case(parameter)
                {
                    found = Some(value.trim().to_owned());
                }
                match separator {
                    // What stands before another element is not the last proxy's.
                    Some(',') => found = None,
                    Some(_) => {}
                    // A quote that does not end may have swallowed the last one's.
                    None => return found.filter(|value| !is_quoted && !value.is_empty()),
                }
            }
            Some(character) => text.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_trusted_proxy_says_where_a_request_comes_from() {
        let address = |peer: &str, forwarded: &[&str]| {
            let mut request =
                TestRequest::default().peer_addr(format!("{peer}:5000").parse().expect("an address"));
            for addresses in forwarded {
                request = request.append_header(("x-forwarded-for", *addresses));
            }
            let proxies = Proxies::at([[10, 0, 0, 1].into(), [10, 0, 0, 2].into()]);
            proxies.address(&request.to_http_request()).expect("it has one").to_string()
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

    #[test]
    fn the_last_element_of_forwarded_is_the_proxys() {
        for (header, host, proto) in [
            ("host=forum.example;proto=https", "forum.example", "https"),
            ("For=192.0.2.1 ; Proto=https; HOST=forum.example", "forum.example", "https"),
            (r#"host="forum.example:8443";proto="https""#, "forum.example:8443", "https"),
            (r#"host="a\"b";proto=https"#, "a\"b", "https"),
            ("host=evil.example;proto=http, host=forum.example;proto=https", "forum.example", "https"),
            ("host=evil.example;proto=http, for=192.0.2.1", "", ""),
            ("host=evil.example;proto=http,", "", ""),
            (r#"for="a, host=evil.example", host=forum.example"#, "forum.example", ""),
            // The client has begun a quote, so that the proxy's element would be within it.
            (r#"host=evil.example;x=", host=forum.example;proto=https"#, "", ""),
            (r#"host=evil.example;x=", host="forum.example""#, "", ""),
            (r#"x="\"#, "", ""),
            ("", "", ""),
            ("host", "", ""),
            ("host=;proto=", "", ""),
            ("=;=,==", "", ""),
        ] {
            let said = |parameter| forwarded(header, parameter).unwrap_or_default();
            assert_eq!([said("host"), said("proto")], [host, proto], "{header}");
        }
    }

    #[test]
    fn a_proxy_says_whether_the_browser_asked_over_tls() {
        let is_secure = |peer: &str, headers: &[(&'static str, &str)]| {
            let mut request =
                TestRequest::default().peer_addr(format!("{peer}:5000").parse().expect("an address"));
            for header in headers {
                request = request.append_header(*header);
            }
            Proxies::at([[10, 0, 0, 1].into()]).is_secure(&request.to_http_request())
        };
        let proto = |proto| [("x-forwarded-proto", proto)];
        for (said, expected) in [
            ("https", Some(true)),
            ("HTTPS", Some(true)),
            ("wss", Some(true)),
            ("http", Some(false)),
            ("ws", Some(false)),
            ("http, https", Some(true)),
            ("https,http", Some(false)),
            ("", None),
            ("gopher", None),
        ] {
            assert_eq!(is_secure("10.0.0.1", &proto(said)), expected, "{said}");
            assert_eq!(
                is_secure("10.0.0.2", &proto(said)),
                Some(false),
                "{said}: its own connection says it"
            );
        }
        let both = [("x-forwarded-proto", "https"), ("forwarded", "proto=http")];
        assert_eq!(is_secure("10.0.0.1", &both), Some(true));
        assert_eq!(is_secure("10.0.0.1", &both[1..]), Some(false));
    }

    #[test]
    fn the_host_is_named_by_whichever_version_of_http() {
        let host = |request: TestRequest| {
            Proxies::default().host(&request.to_http_request()).map(Cow::into_owned).unwrap_or_default()
        };
        assert_eq!(host(TestRequest::default().insert_header((header::HOST, "a.example:1"))), "a.example:1");
        assert_eq!(host(TestRequest::with_uri("https://a.example:1/api/ws")), "a.example:1");
        assert_eq!(host(TestRequest::with_uri("/api/ws")), "");
    }
}
