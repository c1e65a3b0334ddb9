//! Requests over HTTP.

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::Value as Json;

use crate::{Server, position, within};

/// What a request was answered with.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub text: String,
    /// The body, `null` where it is empty or no JSON.
    pub json: Json,
}

impl Answer {
    /// A header, empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Server {
    /// Sends a request with a body and headers of one's own.
    ///
    /// # Panics
    /// Where there is no answer.
    pub async fn http(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.http.request(method, format!("http://{}{path}", self.address)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answering = async {
            let response = request.send().await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Ok::<_, reqwest::Error>((status, headers, response.text().await?))
        };
        let (status, headers, text) = within("an answer", answering).await.expect("the request is answered");
        let json = serde_json::from_str(&text).unwrap_or_default();
        Answer { status, headers, text, json }
    }

    /// Sends a request with a JSON body, or without one where it is `null`.
    pub async fn send(&self, method: &str, path: &str, body: &Json) -> Answer {
        if body.is_null() {
            self.http(method, path, &[], "").await
        } else {
            self.http(method, path, &[(CONTENT_TYPE.as_str(), "application/json")], body.to_string()).await
        }
    }

    /// Reads a path.
    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &Json::Null).await
    }

    /// Reads a path that exists.
    ///
    /// # Panics
    /// Where it does not.
    pub async fn read(&self, path: &str) -> Json {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text);
        answer.json
    }

    /// Makes an object and gives it back.
    ///
    /// # Panics
    /// Where that is refused.
    pub async fn create(&self, stream: &str, body: Json) -> Json {
        let answer = self.send("POST", &format!("/api/{stream}/"), &body).await;
        assert_eq!(answer.status, 201, "POST {body} to {stream}: {}", answer.text);
        answer.json
    }

    /// The position of the feed that includes all that has been committed.
    pub async fn feed(&self) -> u64 {
        let answer = self.get("/api/labels/?limit=1&count=false").await;
        position(answer.header("realtime-cursor"))
    }
}
