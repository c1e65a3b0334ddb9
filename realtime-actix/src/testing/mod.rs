//! Tests of an application in its own process: clients that log in, ask and follow, without a port and without sleeping.
//!
//! ```
//! use diesel::connection::SimpleConnection as _;
//! use realtime_actix::policy::{IsAuthenticated, ReadOnly, Rule as _};
//! use realtime_actix::testing::{TestApp, Users};
//! use realtime_actix::{Realtime, RealtimeResource};
//! use serde_json::json;
//!
//! # diesel::table! { remarks (id) { id -> Integer, body -> Text, } }
//! /// What anybody may read, and users write.
//! #[derive(RealtimeResource)]
//! #[diesel(table_name = remarks)]
//! #[realtime(permission = ReadOnly.or(IsAuthenticated))]
//! struct Remark {
//!     #[realtime(read_only)]
//!     id: i32,
//!     body: String,
//! }
//!
//! const TABLE: &str = "CREATE TABLE remarks (id INTEGER PRIMARY KEY NOT NULL, body TEXT NOT NULL)";
//!
//! // In a test: `#[actix_web::test]`.
//! # #[actix_web::main]
//! async fn main() {
//!     let users = Users::default();
//!     let realtime = Realtime::connect("sqlite::memory:")
//!         .prepare(|connection| Ok(connection.batch_execute(TABLE)?))
//!         .resource::<Remark>()
//!         .authenticator(users.clone())
//!         .start()
//!         .await
//!         .expect("the service starts");
//!     let app = TestApp::of(&realtime, &users).await;
//!
//!     let mut reader = app.client().connect("/api/ws").await;
//!     reader.subscribe("remarks", json!({})).await;
//!     let mut ann = app.client();
//!     ann.post("/api/remarks/", json!({"body": "refused"})).await.expect(401);
//!     reader.assert_silent().await;
//!     ann.force_login(&users.user());
//!     ann.post("/api/remarks/", json!({"body": "hello"})).await.expect(201);
//!     assert_eq!(reader.next_event().await["data"]["body"], "hello");
//!
//!     let mut socket = ann.connect("/api/ws").await;
//!     ann.logout();
//!     socket.assert_closed(4401).await;
//! }
//! ```

mod client;
mod socket;
mod users;

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::Request;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Service as _, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::{App, HttpMessage as _, HttpRequest, HttpResponse, test};
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use realtime_core::Error;
use realtime_core::filter::Filter;
use realtime_core::snapshot::PageRequest;
use realtime_core::subscription::{EventActions, Form, Subscription};
use tokio::sync::oneshot;

pub use self::client::{Answer, Client};
pub use self::socket::Socket;
pub use self::users::{User, Users};
use crate::auth::Identity;
use crate::realtime::Realtime;
use crate::socket::group::Reached;

/// How long anything is waited for that should come.
const WAIT: Duration = Duration::from_secs(10);

/// Waits for something that must come.
async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(WAIT, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {WAIT:?} in vain for {what}"),
    }
}

type Call = dyn Fn(Request) -> LocalBoxFuture<'static, HttpResponse<BoxBody>>;

/// An application under test, and its clients. Clones are the same one.
#[derive(Clone)]
pub struct TestApp(Rc<Parts>);

struct Parts {
    call: Box<Call>,
    realtime: Realtime,
    users: Users,
}

impl fmt::Debug for TestApp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TestApp").field("users", &self.0.users).finish_non_exhaustive()
    }
}

impl TestApp {
    /// An `App` that mounts the service, as the program builds it in `HttpServer::new`.
    ///
    /// [`Client::login`] finds its users in the store. Where the service has another authenticator, an empty store will
    /// do: [`Client::force_identity`] makes a client anybody.
    ///
    /// # Panics
    /// Where the application does not start.
    pub async fn new<T, B>(realtime: &Realtime, users: &Users, app: App<T>) -> Self
    where
        T: ServiceFactory<
                ServiceRequest,
                Config = (),
                Response = ServiceResponse<B>,
                Error = actix_web::Error,
                InitError = (),
            > + 'static,
        B: MessageBody + 'static,
    {
        let service = test::init_service(app).await;
        let call = move |request| {
            let answering = service.call(request);
            async move {
                match answering.await {
                    Ok(response) => response.map_into_boxed_body().into_parts().1,
                    Err(error) => error.error_response(),
                }
            }
            .boxed_local()
        };
        Self(Rc::new(Parts { call: Box::new(call), realtime: realtime.clone(), users: users.clone() }))
    }

    /// Nothing but the service, under `/api`.
    pub async fn of(realtime: &Realtime, users: &Users) -> Self {
        Self::new(realtime, users, App::new().service(realtime.scope("/api"))).await
    }

    /// A client that nobody is logged in at yet.
    pub fn client(&self) -> Client {
        Client::new(self.clone())
    }

    /// The service.
    pub fn realtime(&self) -> &Realtime {
        &self.0.realtime
    }

    /// Waits until the groups have been told of everything that has been committed.
    ///
    /// # Panics
    /// Where the database cannot be read, or the feed does not come that far.
    async fn drained(&self) {
        let shared = self.0.realtime.shared();
        let (database, descriptors) = (shared.database(), &shared.surface().descriptors);
        database.wake();
        let Some(descriptor) = descriptors.first() else { return };
        // A page without rows is true at the newest position.
        let (resource, nothing) = (realtime_core::change::ResourceId(0), Filter::nothing());
        let subscription =
            Subscription::new(resource, descriptor, nothing, None, Form::default(), EventActions::default());
        let request = PageRequest { subscription: Arc::new(subscription), after: None, rows: 1, bytes: 1 };
        let page = within("the newest position", database.snapshot_page(request, None)).await;
        let position =
            page.unwrap_or_else(|error| panic!("the database cannot be read: {error}")).cursor.position;
        let (tell, told) = oneshot::channel();
        shared.groups().do_send(Reached { position, tell });
        let _ = within("the feed", told).await;
    }
}

/// Whom a client is, whatever the authenticator would say. It is in no request that comes over a wire.
struct Forced(Result<Identity, Error>);

/// Whom a client of [`TestApp`] is said to be.
pub(crate) fn forced(request: &HttpRequest) -> Option<Result<Identity, Error>> {
    request.extensions().get::<Forced>().map(|forced| forced.0.clone())
}
