//! Whether the program lives, and whether it can serve.

use actix_web::{HttpResponse, web};
use realtime_actix::Realtime;

/// `/health/live` and `/health/ready`.
pub(crate) fn routes(config: &mut web::ServiceConfig, realtime: &Realtime) {
    let realtime = realtime.clone();
    config.route("/health/live", web::get().to(|| async { HttpResponse::Ok().body("live\n") })).route(
        "/health/ready",
        web::get().to(move || {
            let ready = realtime.is_ready();
            async move {
                if ready {
                    HttpResponse::Ok().body("ready\n")
                } else {
                    HttpResponse::ServiceUnavailable().body("the database cannot be used\n")
                }
            }
        }),
    );
}
