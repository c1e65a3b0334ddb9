//! The page, embedded in the program.

use actix_web::http::header;
use actix_web::{HttpResponse, web};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// A file of the folder `page` and its media type.
macro_rules! files {
    ($($name:literal: $media_type:ident),* $(,)?) => {
        &[$((concat!("/page/", $name), $media_type, include_str!(concat!("../page/", $name)))),*]
    };
}

/// Path, media type and content of each file.
const FILES: &[(&str, &str, &str)] = files! {
    "account.js": JAVASCRIPT,
    "app.js": JAVASCRIPT,
    "comment.js": JAVASCRIPT,
    "comments.js": JAVASCRIPT,
    "composer.js": JAVASCRIPT,
    "connection.js": JAVASCRIPT,
    "dom.js": JAVASCRIPT,
    "ending.js": JAVASCRIPT,
    "icon.svg": SVG,
    "list.js": JAVASCRIPT,
    "live.js": JAVASCRIPT,
    "notes.js": JAVASCRIPT,
    "people.js": JAVASCRIPT,
    "session.js": JAVASCRIPT,
    "store.js": JAVASCRIPT,
    "style.css": CSS,
    "time.js": JAVASCRIPT,
    "topics.js": JAVASCRIPT,
};

const INDEX: (&str, &str, &str) = ("/", HTML, include_str!("../page/index.html"));

/// Nothing from elsewhere, and nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Serves the files.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    for (path, media_type, content) in std::iter::once(&INDEX).chain(FILES) {
        config.route(
            path,
            web::get().to(move || async move {
                HttpResponse::Ok()
                    .insert_header((header::CONTENT_TYPE, *media_type))
                    .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
                    .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
                    .insert_header((header::REFERRER_POLICY, "same-origin"))
                    .insert_header((header::CACHE_CONTROL, "no-cache"))
                    .body(*content)
            }),
        );
    }
}
