//! The admin page: an index, one JSON dump a part, questions, orders.

use std::fmt::Write as _;
use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;
use serde_json::{Map, Value, json};

use super::body::Body;
use super::istio::Dump;
use super::server::{Answer, Site, Verb};

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
    orders: Vec<Order>,
    dump: Option<Arc<MakeDump>>,
}

/// What makes the dump in Istio's shape.
pub type MakeDump = dyn Fn() -> Dump + Send + Sync;

/// A path that changes or measures the process.
#[derive(Clone)]
pub struct Order {
    /// Its path without the first slash.
    pub name: &'static str,
    /// A line for the index.
    pub about: &'static str,
    pub verb: Verb,
    /// Does it, for a path's query. It runs on the control pool and must not wait.
    pub act: Arc<dyn Fn(&str) -> Answer + Send + Sync>,
}

// === impl Order ===

impl Order {
    pub fn new(
        name: &'static str,
        about: &'static str,
        verb: Verb,
        act: impl Fn(&str) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self { name, about, verb, act: Arc::new(act) }
    }
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
        Self { version: version.into(), pages, asked, orders: Vec::new(), dump: None }
    }

    /// With paths that change or measure the process.
    pub fn with_orders(self, orders: Vec<Order>) -> Self {
        Self { orders, ..self }
    }

    /// With /config_dump in the shape that Istio's tools read. All pages in one document are then at /dump.
    pub fn with_dump(self, dump: impl Fn() -> Dump + Send + Sync + 'static) -> Self {
        Self { dump: Some(Arc::new(dump)), ..self }
    }

    fn index(&self) -> Answer {
        let whole = self.whole();
        let mut body = format!(
            "<!doctype html>\n<meta charset=\"utf-8\">\n<title>culvert</title>\n<h1>culvert {}</h1>\n<ul>\n\
             <li><a href=\"/{whole}\">/{whole}</a> every page below in one document\n",
            html(&self.version)
        );
        if self.dump.is_some() {
            body.push_str("<li><a href=\"/config_dump\">/config_dump</a> what istioctl ztunnel-config reads\n");
        }
        let orders = self.orders.iter().map(|order| (order.name, order.about));
        let pages = self.pages.iter().map(|page| (page.name, page.about));
        for (name, about) in pages.chain(self.asked.iter().map(|asked| (asked.name, asked.about))).chain(orders) {
            // Writing to a String does not fail.
            writeln!(body, "<li><a href=\"/{name}\">/{name}</a> {}", html(about)).ok();
        }
        body.push_str("</ul>\n");
        Answer::new(StatusCode::OK, "text/html; charset=utf-8", body)
    }

    /// The path of all pages in one document.
    const fn whole(&self) -> &'static str {
        if self.dump.is_some() { "dump" } else { "config_dump" }
    }
}

impl Site for Pages {
    fn verb(&self, path: &str) -> Verb {
        let name = path.strip_prefix('/').unwrap_or_default();
        if self.dump.is_some() && ["/", "/config_dump"].contains(&path) {
            // Istio's node proxy answers any method there.
            return Verb::Any;
        }
        let order = self.orders.iter().find(|order| order.name == name);
        order.map_or(Verb::Read, |order| order.verb)
    }

    fn answer(&self, request: &Parts) -> Option<Answer> {
        match request.uri.path().strip_prefix('/')? {
            "" => Some(self.index()),
            "config_dump" if self.dump.is_some() => {
                let make = Arc::clone(self.dump.as_ref()?);
                let body = Body::written(move |out| make().write(out));
                Some(Answer::new(StatusCode::OK, "application/json", body))
            }
            name if name == self.whole() => {
                let mut all: Map<_, _> = self.pages.iter().map(|page| (page.name.to_owned(), (page.dump)())).collect();
                all.insert("version".to_owned(), self.version.clone().into());
                Some(json(&Value::Object(all)))
            }
            name if self.orders.iter().any(|order| order.name == name) => {
                let order = self.orders.iter().find(|order| order.name == name)?;
                Some((order.act)(request.uri.query().unwrap_or_default()))
            }
            name => match self.asked.iter().find(|asked| asked.name == name) {
                Some(asked) => Some(asked.respond(request.uri.query().unwrap_or_default())),
                None => self.pages.iter().find(|page| page.name == name).map(|page| json(&(page.dump)())),
            },
        }
    }
}

fn json(value: &Value) -> Answer {
    Answer::new(StatusCode::OK, "application/json", format!("{value:#}\n"))
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
