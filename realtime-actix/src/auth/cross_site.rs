//! Writes that a page of another site makes a browser send, with the cookies of whoever looks at it.

use actix_web::HttpRequest;
use actix_web::http::header;

use crate::origin::Origins;

/// Does a browser say that a page of another site sends the request?
///
/// `Sec-Fetch-Site` and `Origin` cannot be set by a page. Programs that are no browsers send neither, and have nobody
/// else's cookies.
pub(crate) fn is_cross_site(request: &HttpRequest, origins: &Origins) -> bool {
    let site = request.headers().get("sec-fetch-site").and_then(|site| site.to_str().ok());
    let has_origin = request.headers().contains_key(header::ORIGIN);
    // Where the origin is named, it decides: a named one may be of another site.
    if has_origin { !origins.allow(request) } else { matches!(site, Some("cross-site" | "same-site")) }
}
