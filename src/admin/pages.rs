//! The admin page: an index, one JSON dump a part, and questions.

use std::fmt::Write as _;
use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;
use serde_json::{Map, Value, json};

use super::server::{Answer, Site};

/// One part's dump.
#[derive(Clone)]
pub struct Page {
    /// Its path without the slash, and its key in /config_dump.
    pub name: &'static str,
    /// A line for the index.
    pub about: &'static str,
    /// What is so now. It holds no private key; it runs on the control pool and must not wait.
    pub dump: Arc<dyn Fn() -> Value + Send + Sync>,
}

/// A page that answers a question, which stands in its path's query. It is no part of /config_dump.
#[derive(Clone)]
pub struct Asked {
    /// Its path without the slash.
    pub name: &'static str,
    /// A line for the index.
    pub about: &'static str,
    /// The answer to a query, the text after `?`, which a client chose: bounded by the request's head, and by nothing
    /// else. It runs on the control pool and must not wait.
    pub answer: Arc<Respond>,
}

/// What answers questions.
pub type Respond = dyn Fn(&str) -> Result<Value, NoAnswer> + Send + Sync;

/// Why a question has no answer: served as `{"error": …}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoAnswer {
    pub status: StatusCode,
    /// The thing, the place and the mend.
    pub message: String,
}

/// What is served at `admin-address`.
#[derive(Clone)]
pub struct Pages {
    version: String,
    pages: Vec<Page>,
    asked: Vec<Asked>,
}

// === impl Page ===

impl Page {
    pub fn new(name: &'static str, about: &'static str, dump: impl Fn() -> Value + Send + Sync + 'static) -> Self {
        Self { name, about, dump: Arc::new(dump) }
    }
}

// === impl Asked ===

impl Asked {
    pub fn new(
        name: &'static str,
        about: &'static str,
        answer: impl Fn(&str) -> Result<Value, NoAnswer> + Send + Sync + 'static,
    ) -> Self {
        Self { name, about, answer: Arc::new(answer) }
    }

    fn respond(&self, query: &str) -> Answer {
        match (self.answer)(query) {
            Ok(value) => json(&value),
            Err(NoAnswer { status, message }) => Answer { status, ..json(&json!({ "error": message })) },
        }
    }
}

// === impl Pages ===

impl Pages {
    pub fn new(version: impl Into<String>, pages: Vec<Page>, asked: Vec<Asked>) -> Self {
        Self { version: version.into(), pages, asked }
    }

    fn index(&self) -> Answer {
        let mut body = format!(
            "<!doctype html>\n<meta charset=\"utf-8\">\n<title>culvert</title>\n<h1>culvert {}</h1>\n<ul>\n\
             <li><a href=\"/config_dump\">/config_dump</a> everything below in one document\n",
            html(&self.version)
        );
        let pages = self.pages.iter().map(|page| (page.name, page.about));
        for (name, about) in pages.chain(self.asked.iter().map(|asked| (asked.name, asked.about))) {
            // Writing to a String does not fail.
            writeln!(body, "<li><a href=\"/{name}\">/{name}</a> {}", html(about)).ok();
        }
        body.push_str("</ul>\n");
        Answer { status: StatusCode::OK, content_type: "text/html; charset=utf-8", body }
    }
}

impl Site for Pages {
    fn answer(&self, request: &Parts) -> Option<Answer> {
        match request.uri.path().strip_prefix('/')? {
            "" => Some(self.index()),
            "config_dump" => {
                let mut all: Map<_, _> = self.pages.iter().map(|page| (page.name.to_owned(), (page.dump)())).collect();
                all.insert("version".to_owned(), self.version.clone().into());
                Some(json(&Value::Object(all)))
            }
            name => match self.asked.iter().find(|asked| asked.name == name) {
                Some(asked) => Some(asked.respond(request.uri.query().unwrap_or_default())),
                None => self.pages.iter().find(|page| page.name == name).map(|page| json(&(page.dump)())),
            },
        }
    }
}

fn json(value: &Value) -> Answer {
    Answer { status: StatusCode::OK, content_type: "application/json", body: format!("{value:#}\n") }
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
