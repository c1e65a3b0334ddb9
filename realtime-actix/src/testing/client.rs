//! A client of an application under test: who it is, and its requests over REST.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use actix_http::HttpMessage as _;
use actix_web::HttpResponse;
use actix_web::body::{self, BoxBody};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::test::TestRequest;
use bytes::Bytes;
use realtime_core::Error;
use serde_json::Value as Json;

use super::{Forced, Socket, TestApp, User, within};
use crate::auth::Identity;

/// The address that clients have.
const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// A client. It keeps the cookies that it is given.
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) app: TestApp,
    who: Who,
    headers: Vec<(HeaderName, HeaderValue)>,
    cookies: BTreeMap<String, String>,
}

/// Whom a client is.
#[derive(Clone, Debug)]
enum Who {
    /// Whom its headers and cookies say.
    Unsaid,
    /// The owner of a session of the store.
    Session(String),
    Forced(Identity),
}

/// What a request was answered with.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    pub(super) async fn of(response: HttpResponse<BoxBody>) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = within("the body of an answer", body::to_bytes(response.into_body())).await;
        Self {
            status,
            headers,
            body: body.unwrap_or_else(|error| panic!("the body cannot be read: {error}")),
        }
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// Where it is none.
    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{:?} is no JSON", self.body))
    }

    /// A header, empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as JSON, of an answer with this status.
    ///
    /// # Panics
    /// Where it has another one.
    pub fn expect(&self, status: u16) -> Json {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        if self.body.is_empty() { Json::Null } else { self.json() }
    }
}

impl Client {
    pub(super) fn new(app: TestApp) -> Self {
        Self { app, who: Who::Unsaid, headers: Vec::new(), cookies: BTreeMap::new() }
    }

    /// Logs a user of the store in. Sockets that are opened from now on are his.
    ///
    /// # Errors
    /// 401 where the name or the password is wrong. The client stays whom it is.
    pub fn login(&mut self, name: &str, password: &str) -> Result<(), Error> {
        self.who = Who::Session(self.app.0.users.log_in(name, password)?);
        Ok(())
    }

    /// Logs a user of the store in without his password.
    pub fn force_login(&mut self, user: &User) {
        self.who = Who::Session(self.app.0.users.begin(user));
    }

    /// Makes the client somebody, whatever the authenticator of the service would say.
    pub fn force_identity(&mut self, identity: Identity) {
        self.who = Who::Forced(identity);
    }

    /// Logs out: the session ends, and its sockets are closed with 4401.
    pub fn logout(&mut self) {
        let session = match std::mem::replace(&mut self.who, Who::Unsaid) {
            Who::Unsaid => return,
            Who::Session(session) => Some(session),
            Who::Forced(identity) => identity.session().map(str::to_owned),
        };
        if let Some(session) = session {
            self.app.0.users.log_out(&session);
            self.app.0.realtime.close_session(session);
        }
    }

    /// Sends a header with each request and handshake from now on.
    ///
    /// # Panics
    /// Where the value can stand in no header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.push((name, HeaderValue::from_str(value).expect("a header's value")));
        self
    }

    pub(super) fn prepare(&self, mut request: TestRequest) -> actix_http::Request {
        for header in &self.headers {
            request = request.append_header(header.clone());
        }
        if !self.cookies.is_empty() {
            let cookies: Vec<String> =
                self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.insert_header((header::COOKIE, cookies.join("; ")));
        }
        let request = request.peer_addr(ADDRESS).to_request();
        let identity = match &self.who {
            Who::Unsaid => return request,
            Who::Session(session) => self.app.0.users.identity(session),
            Who::Forced(identity) => Ok(identity.clone()),
        };
        request.extensions_mut().insert(Forced(identity));
        request
    }

    /// Sends a request, with a JSON body where it is not `null`.
    pub async fn send(&mut self, method: Method, path: &str, body: Json) -> Answer {
        let mut request = TestRequest::default().method(method).uri(path);
        if !body.is_null() {
            request = request.set_json(body);
        }
        let answering = (self.app.0.call)(self.prepare(request));
        let answer = Answer::of(within("an answer", answering).await).await;
        for value in answer.headers.get_all(header::SET_COOKIE).filter_map(|value| value.to_str().ok()) {
            let mut parts = value.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { continue };
            if parts.any(|part| part.eq_ignore_ascii_case("max-age=0")) {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    /// Reads a path.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, Json::Null).await
    }

    /// Sends a `POST`.
    pub async fn post(&mut self, path: &str, body: Json) -> Answer {
        self.send(Method::POST, path, body).await
    }

    /// Sends a `PATCH`.
    pub async fn patch(&mut self, path: &str, body: Json) -> Answer {
        self.send(Method::PATCH, path, body).await
    }

    /// Sends a `DELETE`.
    pub async fn delete(&mut self, path: &str) -> Answer {
        self.send(Method::DELETE, path, Json::Null).await
    }

    /// Opens a socket.
    ///
    /// # Panics
    /// Where it is refused.
    pub async fn connect(&self, path: &str) -> Socket {
        match self.try_connect(path).await {
            Ok(socket) => socket,
            Err(refused) => {
                let body = String::from_utf8_lossy(&refused.body).into_owned();
                panic!("the socket is refused with {}: {body}", refused.status)
            }
        }
    }

    /// Opens a socket.
    ///
    /// # Errors
    /// What a refusal was answered with.
    pub async fn try_connect(&self, path: &str) -> Result<Socket, Answer> {
        Socket::open(self, path).await
    }
}
