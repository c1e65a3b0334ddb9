//! What stands between a browser and the server: the proxies that are believed what they say of a request.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header;
use actix_web::http::uri::Authority;
use ipnet::{IpNet, Ipv4Net};

/// The networks of proxies that are trusted; most are of one address.
///
/// What a header says of another host, scheme or address is believed of them only: whoever reaches the server without a
/// proxy could write anything into it. Of several values the last one is the proxy's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies(Vec<IpNet>);

impl Proxies {
    #[cfg(test)]
    pub(crate) fn at(networks: impl IntoIterator<Item = IpNet>) -> Self {
        let mut proxies = Self::default();
        networks.into_iter().for_each(|network| proxies.add(network));
        proxies
    }

    pub(crate) fn add(&mut self, network: IpNet) {
        self.0.push(canonical(network));
    }

    fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The address that a request comes from, as far as proxies say: of a chain of addresses in `X-Forwarded-For`, or else
    /// in `Forwarded`, which anybody may begin, the last one that is no proxy's.
    pub(crate) fn address(&self, request: &HttpRequest) -> Option<IpAddr> {
        let mut address = request.peer_addr()?.ip().to_canonical();
        if !self.is_trusted(request) {
            return Some(address);
        }
        let values = |name: &'static str| {
            request.headers().get_all(name).rev().map(|value| value.to_str().unwrap_or_default())
        };
        let before: Vec<Option<IpAddr>> = if request.headers().contains_key("x-forwarded-for") {
            values("x-forwarded-for").flat_map(|chain| chain.rsplit(',')).map(node).collect()
        } else {
            let nodes = values("forwarded").flat_map(|header| forwarded(header, "for").into_iter().rev());
            nodes.map(|text| node(&text?)).collect()
        };
        let mut before = before.into_iter();
        while self.contain(address) {
            // Where a proxy says nothing that can be read, it is its own.
            let Some(Some(node)) = before.next() else { break };
            address = node;
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
        request.peer_addr().is_some_and(|peer| self.contain(peer.ip().to_canonical()))
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
            None => forwarded(last("forwarded")?, parameter).pop().flatten().map(Cow::Owned),
        }
    }
}

/// Addresses are compared as what they are: one of IPv4 that is written as one of IPv6 is one of IPv4, and so is a network
/// of such.
fn canonical(network: IpNet) -> IpNet {
    match (network.network().to_canonical(), network.prefix_len().checked_sub(96)) {
        (IpAddr::V4(address), Some(length)) if matches!(network, IpNet::V6(_)) => {
            Ipv4Net::new(address, length).map_or(network, IpNet::V4)
        }
        _ => network,
    }
}

/// An address as proxies write it, some with a port, and of IPv6 in brackets.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let alone = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = alone.parse().or_else(|_| text.parse().map(|with_port: SocketAddr| with_port.ip()));
    address.ok().map(|address| address.to_canonical())
}

/// A parameter in each element of a header `Forwarded` (RFC 7239). Where a quote does not end, one element that says
/// nothing: it may have swallowed what a proxy added.
fn forwarded(header: &str, parameter: &str) -> Vec<Option<String>> {
    let (mut elements, mut found, mut text, mut is_quoted) = (Vec::new(), None, String::new(), false);
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
                    found = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
                }
                if separator != Some(';') {
                    elements.push(found.take());
                }
                if separator.is_none() {
                    return if is_quoted { vec![None] } else { elements };
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

    fn request(peer: &str, headers: &[(&'static str, &str)]) -> HttpRequest {
        let peer = format!("{peer}:5000").parse().expect("an address");
        let request = TestRequest::default().peer_addr(peer);
        headers.iter().fold(request, |request, header| request.append_header(*header)).to_http_request()
    }

    fn address(peer: &str, headers: &[(&'static str, &str)]) -> String {
        address_by(&["10.0.0.1/32", "10.0.0.2/32"], peer, headers)
    }

    fn address_by(networks: &[&str], peer: &str, headers: &[(&'static str, &str)]) -> String {
        let proxies = Proxies::at(networks.iter().map(|text| text.parse().expect("a network")));
        proxies.address(&request(peer, headers)).expect("it has one").to_string()
    }

    #[test]
    fn proxies_of_a_network_are_trusted_wherever_they_are_in_it_and_nobody_beside_it() {
        let address =
            |network: &str, peer: &str| address_by(&[network], peer, &[("x-forwarded-for", "5.6.7.8")]);
        for (network, within, beside) in [
            ("10.1.0.0/16", ["10.1.0.0", "10.1.255.255"], ["10.0.255.255", "10.2.0.0"]),
            // What is beyond the length says nothing.
            ("10.1.2.3/16", ["10.1.0.0", "10.1.255.255"], ["10.0.255.255", "10.2.0.0"]),
            ("10.1.2.3/32", ["10.1.2.3", "10.1.2.3"], ["10.1.2.2", "10.1.2.4"]),
            ("2001:db8::/32", ["[2001:db8::]", "[2001:db8:ffff::1]"], ["[2001:db7:ffff::]", "[2001:db9::]"]),
            (
                "::ffff:10.1.0.0/112",
                ["10.1.0.0", "[::ffff:10.1.255.255]"],
                ["10.0.255.255", "[::ffff:10.2.0.0]"],
            ),
            ("10.0.0.0/8", ["[::ffff:10.0.0.1]", "10.255.0.1"], ["[::ffff:11.0.0.1]", "[::10.0.0.1]"]),
            // All of one version are none of the other.
            ("0.0.0.0/0", ["1.1.1.1", "[::ffff:1.1.1.1]"], ["[::1]", "[2001:db8::1]"]),
            ("::/0", ["[::1]", "[2001:db8::1]"], ["1.1.1.1", "[::ffff:1.1.1.1]"]),
        ] {
            for peer in within {
                assert_eq!(address(network, peer), "5.6.7.8", "{peer} is of {network}");
            }
            for peer in beside {
                assert_ne!(address(network, peer), "5.6.7.8", "{peer} is not of {network}");
            }
        }
        // A chain within a network ends at the first that is not of it, from the right.
        let networks = ["10.0.0.0/8", "2001:db8::/32"];
        for chain in [
            ("x-forwarded-for", "6.6.6.6, 5.6.7.8, 10.9.9.9, 2001:db8::7"),
            ("x-forwarded-for", "10.6.6.6, 5.6.7.8, [2001:db8::9]:80, 10.1.1.1:443"),
            ("forwarded", r#"for=6.6.6.6, for=5.6.7.8, for=10.9.9.9, for="[2001:db8::7]""#),
        ] {
            assert_eq!(address_by(&networks, "10.0.0.1", &[chain]), "5.6.7.8", "{chain:?}");
        }
        // Where all of it is of proxies, it came from the first.
        assert_eq!(
            address_by(&networks, "10.0.0.1", &[("x-forwarded-for", "10.7.7.7, 10.8.8.8")]),
            "10.7.7.7"
        );
    }

    #[test]
    fn a_trusted_proxy_says_where_a_request_comes_from() {
        let address = |peer: &str, chains: &[&str]| {
            let headers: Vec<_> = chains.iter().map(|chain| ("x-forwarded-for", *chain)).collect();
            address(peer, &headers)
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
        for nothing in ["", "unknown", "5.6.7.8:1234, ", "_hidden", "[", "[]", "[5.6.7.8:1"] {
            assert_eq!(address("10.0.0.1", &[nothing]), "10.0.0.1", "{nothing:?}");
        }
        for (with_port, alone) in [
            ("5.6.7.8:1234", "5.6.7.8"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:1234", "2001:db8::1"),
        ] {
            assert_eq!(address("10.0.0.1", &[with_port]), alone);
        }
    }

    #[test]
    fn a_trusted_proxy_may_say_it_in_forwarded() {
        let forwarded = |value| [("forwarded", value)];
        assert_eq!(address("1.2.3.4", &forwarded("for=5.6.7.8")), "1.2.3.4", "nobody else is believed");
        for (said, expected) in [
            ("for=5.6.7.8", "5.6.7.8"),
            (r#"proto=https;For="[2001:db8::1]:4711""#, "2001:db8::1"),
            ("for=6.6.6.6, for=5.6.7.8, for=10.0.0.2", "5.6.7.8"),
            ("for=6.6.6.6, proto=https", "10.0.0.1"),
            ("for=unknown", "10.0.0.1"),
            (r#"for=6.6.6.6;x=", for=5.6.7.8"#, "10.0.0.1"),
        ] {
            assert_eq!(address("10.0.0.1", &forwarded(said)), expected, "{said}");
        }
        let lines = [("forwarded", r#"for=6.6.6.6;x=""#), ("forwarded", "for=5.6.7.8")];
        assert_eq!(address("10.0.0.1", &lines), "5.6.7.8");
        // What a quote of the client's has swallowed is the proxy's, and a line before it is not.
        let swallowed = [("forwarded", "for=6.6.6.6"), ("forwarded", r#"x=", for=5.6.7.8"#)];
        assert_eq!(address("10.0.0.1", &swallowed), "10.0.0.1");
        let both = [("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "5.6.7.8")];
        assert_eq!(address("10.0.0.1", &both), "5.6.7.8");
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
            let said = |parameter| forwarded(header, parameter).pop().flatten().unwrap_or_default();
            assert_eq!([said("host"), said("proto")], [host, proto], "{header}");
        }
    }

    #[test]
    fn a_proxy_says_whether_the_browser_asked_over_tls() {
        let is_secure = |peer: &str, headers: &[(&'static str, &str)]| {
            Proxies::at(["10.0.0.1/32".parse().expect("a network")]).is_secure(&request(peer, headers))
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
