//! An event as a line of text or JSON. Ours, and not the library's, because its text format writes the
//! line ends and control characters of others as they are.

use std::fmt::{self, Write as _};

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::macros::format_description;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::{Format, writer};
use crate::telemetry::escape;

/// Makes a line of each event, with the fields of the spans around it, outermost first.
pub(super) struct Lines {
    format: Format,
    colour: bool,
    queue: writer::Lines,
}

/// Fields in the order they were recorded; a span keeps its own.
#[derive(Default)]
struct Fields {
    message: String,
    fields: Vec<Named>,
}

#[derive(Clone)]
struct Named {
    name: &'static str,
    value: Value,
    /// It was recorded as text, and not as something that has one.
    text: bool,
}

// === impl Lines ===

impl Lines {
    pub(super) fn new(format: Format, colour: bool, queue: writer::Lines) -> Self {
        Self { format, colour, queue }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut own = Fields::default();
        event.record(&mut own);
        let mut all = Vec::new();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(fields) = span.extensions().get::<Fields>() {
                all.extend(fields.fields.iter().cloned());
            }
        }
        all.append(&mut own.fields);
        let now = OffsetDateTime::now_utc();
        if matches!(self.format, Format::IstioJson | Format::IstioText) && event.metadata().target() == "access" {
            all = with_error(all);
        }
        self.queue.push(match self.format {
            Format::IstioJson => json("scope", now, event.metadata(), own.message, all),
            Format::IstioText => tabs(now, event.metadata(), &own.message, &all),
            Format::Json => json("target", now, event.metadata(), own.message, all),
            Format::Text => text(now, event.metadata(), &own.message, &all, self.colour),
        });
    }
}

// === impl Fields ===

impl Fields {
    fn push(&mut self, field: &Field, value: Value) {
        let named = |name, value| Named { name, value, text: false };
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = escape::cut(text),
            (name, Value::String(text)) => self.fields.push(named(name, escape::cut(text).into())),
            (name, value) => self.fields.push(named(name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, format!("{value:?}").into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.push(field, value.to_string().into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, value.into());
        if let Some(last) = self.fields.last_mut().filter(|last| last.name == field.name()) {
            last.text = true;
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value.into());
    }
}

/// RFC 3339 in UTC with microseconds.
fn stamp(now: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
    // The format has only parts that every date has.
    now.format(format).unwrap_or_default()
}

fn text(now: OffsetDateTime, metadata: &Metadata<'_>, message: &str, fields: &[Named], colour: bool) -> String {
    let mut line = stamp(now);
    let style = match *metadata.level() {
        Level::ERROR => anstyle::AnsiColor::Red.on_default().bold(),
        Level::WARN => anstyle::AnsiColor::Yellow.on_default(),
        _ => anstyle::Style::new(),
    };
    let style = if colour { style } else { anstyle::Style::new() };
    let target = metadata.target();
    let target = target.strip_prefix("culvert::").unwrap_or(target);
    let level = metadata.level().as_str().to_ascii_lowercase();
    // Writing to a String does not fail.
    write!(line, " {style}{level:<5}{style:#} {target}: {}", escape::sentence(message)).ok();
    for Named { name, value, .. } in fields {
        let value = match value {
            Value::String(text) => escape::value(text),
            other => other.to_string().into(),
        };
        write!(line, " {name}={value}").ok();
    }
    line.push('\n');
    line
}

/// What ztunnel calls `error` in access lines, beside our own names: the sentence, or else the word.
fn with_error(mut fields: Vec<Named>) -> Vec<Named> {
    let of = |wanted: &str| fields.iter().find(|field| field.name == wanted).map(|field| field.value.clone());
    if let Some(value) = of("reason").map(|word| of("detail").unwrap_or(word))
        && of("error").is_none()
    {
        fields.push(Named { name: "error", value, text: true });
    }
    fields
}

/// ztunnel's line: tabs between its parts, quotes around every text.
fn tabs(now: OffsetDateTime, metadata: &Metadata<'_>, message: &str, fields: &[Named]) -> String {
    let target = metadata.target();
    let target = target.strip_prefix("culvert::").unwrap_or(target);
    let level = metadata.level().as_str().to_ascii_lowercase();
    let mut line = format!("{}\t{level}\t{target}\t{}", stamp(now), escape::sentence(message));
    for (place, Named { name, value, text }) in fields.iter().enumerate() {
        let value = match value {
            Value::String(value) if *text => escape::quoted(value).into(),
            Value::String(value) => escape::value(value),
            other => other.to_string().into(),
        };
        // Writing to a String does not fail.
        write!(line, "{}{name}={value}", if place == 0 { '\t' } else { ' ' }).ok();
    }
    line.push('\n');
    line
}

/// `target` is the key of the event's target.
fn json(target: &str, now: OffsetDateTime, metadata: &Metadata<'_>, message: String, fields: Vec<Named>) -> String {
    let mut object = Map::new();
    for Named { name, value, .. } in fields {
        object.insert(name.to_owned(), value);
    }
    // Last, so that no field of a span takes their place.
    object.insert("time".into(), stamp(now).into());
    object.insert("level".into(), metadata.level().as_str().to_ascii_lowercase().into());
    object.insert(target.into(), metadata.target().into());
    object.insert("message".into(), message.into());
    let mut line = Value::Object(object).to_string();
    line.push('\n');
    line
}
