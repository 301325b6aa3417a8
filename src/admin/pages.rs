//! The admin page: an index and one JSON dump a part.

use std::fmt::Write as _;
use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;
use serde_json::{Map, Value};

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

/// What is served at `admin-address`.
#[derive(Clone)]
pub struct Pages {
    version: String,
    pages: Vec<Page>,
}

// === impl Page ===

impl Page {
    pub fn new(name: &'static str, about: &'static str, dump: impl Fn() -> Value + Send + Sync + 'static) -> Self {
        Self { name, about, dump: Arc::new(dump) }
    }
}

// === impl Pages ===

impl Pages {
    pub fn new(version: impl Into<String>, pages: Vec<Page>) -> Self {
        Self { version: version.into(), pages }
    }

    fn index(&self) -> Answer {
        let mut body = format!(
            "<!doctype html>\n<meta charset=\"utf-8\">\n<title>culvert</title>\n<h1>culvert {}</h1>\n<ul>\n\
             <li><a href=\"/config_dump\">/config_dump</a> everything below in one document\n",
            html(&self.version)
        );
        for Page { name, about, .. } in &self.pages {
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
            name => self.pages.iter().find(|page| page.name == name).map(|page| json(&(page.dump)())),
        }
    }
}

fn json(value: &Value) -> Answer {
    Answer { status: StatusCode::OK, content_type: "application/json", body: format!("{value:#}\n") }
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
