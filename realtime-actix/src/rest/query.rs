//! Query strings: filters and options.

use std::collections::HashMap;

use realtime_core::Error;
use realtime_core::filter::RawArgument;
use realtime_core::list::RESERVED;
use serde_json::Value as Json;

type Entries = Vec<(String, RawArgument)>;
pub(super) type Options = Vec<(String, Json)>;

/// Splits a query string into the entries of a filter and the options beside it. `what` has the options that are known.
pub(super) fn parse(query: &str, what: &str, known: &[&str]) -> Result<(Entries, Options), Error> {
    let mut filter: Entries = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut options: Options = Vec::new();
    for Pair { name, value, decoded } in pairs(query)? {
        if RESERVED.contains(&name.as_str()) {
            if !known.contains(&name.as_str()) {
                return Err(Error::bad_request(format!("{name} is no option of {what}.")));
            }
            if options.iter().any(|(known, _)| *known == name) {
                return Err(Error::validation(name, "May be given once only."));
            }
            options.push((name, Json::String(decoded)));
            continue;
        }
        match places.get(&name).and_then(|place| filter.get_mut(*place)) {
            Some((_, RawArgument::Query(values))) => values.push(value),
            _ => {
                places.insert(name.clone(), filter.len());
                filter.push((name, RawArgument::Query(vec![value])));
            }
        }
    }
    Ok((filter, options))
}

/// The options of a subscription in the form that they have in a message: lists and booleans rather than text.
pub(super) fn typed(options: &mut Options) {
    for (name, value) in options {
        let Json::String(text) = value else { continue };
        *value = match (name.as_str(), text.as_str()) {
            ("fields" | "actions", text) => text.split(',').filter(|name| !name.is_empty()).collect(),
            ("snapshot", "true") => Json::Bool(true),
            ("snapshot", "false") => Json::Bool(false),
            _ => continue,
        };
    }
}

/// The link to another page of the same list, from the root of the server.
pub(super) fn page_link(path: &str, query: &str, cursor: &str) -> String {
    let kept = query.split('&').filter(|pair| {
        // Read as the options were: a letter of a name may be percent-encoded.
        let name = realtime_core::url_decoded(pair.split('=').next().unwrap_or_default());
        !pair.is_empty() && !["cursor", "offset", "page"].map(Some).contains(&name.as_deref())
    });
    let mut link = format!("{path}?");
    for pair in kept {
        // What a client may have left as it is: a header has nothing but ASCII.
        for letter in pair.chars() {
            if letter.is_ascii() {
                link.push(letter);
            } else {
                link.push_str(&encoded(letter.encode_utf8(&mut [0; 4])));
            }
        }
        link.push('&');
    }
    link + "cursor=" + cursor
}

struct Pair {
    name: String,
    /// Still percent-encoded, a space as `%20`.
    value: String,
    decoded: String,
}

fn pairs(query: &str) -> Result<Vec<Pair>, Error> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = |text: &str| {
                realtime_core::url_decoded(text)
                    .ok_or_else(|| Error::bad_request("The query string is not URL-encoded text."))
            };
            let (name, value) = (name.replace('+', "%20"), value.replace('+', "%20"));
            Ok(Pair { name: decoded(&name)?, decoded: decoded(&value)?, value })
        })
        .collect()
}

/// Percent-encodes a key so that it is one segment of a path.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_list(query: &str) -> Result<(Entries, Options), Error> {
        parse(query, "a list", realtime_core::list::LIST_OPTIONS)
    }

    #[test]
    fn filters_and_options_are_told_apart_and_repeated_keys_add_up() {
        let (filter, options) = parse_list("ids=1,2&ids=3&text=a%20b+c&limit=5&flag").expect("a query");
        let filter: Vec<String> = filter.iter().map(|entry| format!("{entry:?}")).collect();
        assert_eq!(
            filter,
            [
                r#"("ids", Query(["1,2", "3"]))"#,
                r#"("text", Query(["a%20b%20c"]))"#,
                r#"("flag", Query([""]))"#
            ]
        );
        assert_eq!(options, [("limit".to_owned(), Json::from("5"))]);
        assert!(parse_list("limit=1&limit=2").is_err());
        assert!(parse_list("snapshot=true").is_err());
        assert!(parse_list("a=%zz").is_err());
    }

    #[test]
    fn a_page_link_keeps_everything_but_the_place() {
        assert_eq!(
            page_link("/api/x/", "a=1&offset=3&b=%2C&cursor=old&page=2&page_size=4&c=ü", "new"),
            "/api/x/?a=1&b=%2C&page_size=4&c=%C3%BC&cursor=new"
        );
        assert_eq!(page_link("/api/x/", "%63ursor=old&o%66fset", "new"), "/api/x/?cursor=new");
        assert_eq!(page_link("/api/x/", "", "new"), "/api/x/?cursor=new");
    }
}
