//! Spans as they are closed, written down.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

/// Spans that were closed: the names from the root on, and the fields.
#[derive(Clone, Default)]
pub struct Spans(Arc<Mutex<Vec<String>>>);

impl Spans {
    /// Writes down the spans of this thread, as long as the answer is kept.
    pub fn keep(&self) -> DefaultGuard {
        tracing::subscriber::set_default(Registry::default().with(self.clone()))
    }

    /// Those of this name.
    ///
    /// # Panics
    /// Where a test panicked while it held them.
    pub fn named(&self, name: &str) -> Vec<String> {
        let is_named = |span: &&String| {
            span.split(' ').next().is_some_and(|path| path.split('/').next_back() == Some(name))
        };
        self.0.lock().unwrap().iter().filter(is_named).cloned().collect()
    }
}

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string cannot fail.
        _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields(String::new());
        attributes.record(&mut fields);
        context.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        values.record(span.extensions_mut().get_mut::<Fields>().unwrap());
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        let path: Vec<&str> = span.scope().from_root().map(|span| span.name()).collect();
        let fields = span.extensions().get::<Fields>().map(|fields| fields.0.clone()).unwrap_or_default();
        self.0.lock().unwrap().push(format!("{}{fields}", path.join("/")));
    }
}
