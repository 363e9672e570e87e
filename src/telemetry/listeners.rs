//! Messages about one peer, for whoever asked for that peer: a command that handed its file to a
//! running daemon hears what the daemon's log says of it, in the same words.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Span, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// What spans about a peer are called, and the field that has the peer's name.
const SPAN: &str = "peer";
const FIELD: &str = "peer";

/// The span of everything that is said about the peer `name`.
pub fn peer_span(name: &str) -> Span {
    // Its level is the highest, or a filter that lets only warnings through would hide it.
    tracing::error_span!(SPAN, peer = name)
}

/// Takes a message about the peer; called from wherever the message arose, so it must not wait.
type Ear = Box<dyn Fn(Level, &str) + Send>;

/// All that listen.
#[derive(Clone, Default)]
pub struct Listeners(Arc<Mutex<Ears>>);

#[derive(Default)]
struct Ears {
    last: u64,
    ears: Vec<(u64, String, Ear)>,
}

/// Someone who listens, until this is dropped.
pub struct Listening {
    listeners: Listeners,
    number: u64,
}

impl Listeners {
    /// Gives every message about the peer `name` to `ear`, whatever the log's filter says.
    pub fn listen(&self, name: &str, ear: impl Fn(Level, &str) + Send + 'static) -> Listening {
        self.with(|ears| {
            ears.last += 1;
            ears.ears.push((ears.last, name.to_owned(), Box::new(ear)));
            Listening {
                listeners: self.clone(),
                number: ears.last,
            }
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Ears) -> T) -> T {
        // Nothing in there can be half done.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.with(|ears| {
            let names = ears.ears.iter().map(|(_, name, _)| name.clone());
            names.collect::<Vec<_>>()
        });
        f.debug_tuple("Listeners").field(&names).finish()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let number = self.number;
        self.listeners
            .with(|ears| ears.ears.retain(|(other, ..)| *other != number));
    }
}

/// In the extensions of a peer's span.
struct PeerName(String);

impl<S> Layer<S> for Listeners
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name() != SPAN {
            return;
        }
        let mut name = Text::of(FIELD);
        attributes.record(&mut name);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(PeerName(name.text));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(scope) = context.event_scope(event) else {
            return;
        };
        let mut message = Text::of("message");
        event.record(&mut message);
        for span in scope {
            if let Some(PeerName(name)) = span.extensions().get::<PeerName>() {
                self.with(|ears| {
                    let of_peer = ears.ears.iter().filter(|(_, peer, _)| peer == name);
                    for (_, _, ear) in of_peer {
                        ear(*event.metadata().level(), &message.text);
                    }
                });
            }
        }
    }
}

/// The value of one field.
struct Text {
    field: &'static str,
    text: String,
}

impl Text {
    const fn of(field: &'static str) -> Self {
        let text = String::new();
        Self { field, text }
    }
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == self.field {
            self.text = value.to_owned();
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == self.field {
            self.text = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn a_listener_hears_its_peer_and_nobody_else() {
        let listeners = Listeners::default();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let subscriber = tracing_subscriber::registry().with(listeners.clone());
        tracing::subscriber::with_default(subscriber, || {
            let ear = Arc::clone(&heard);
            let listening = listeners.listen("berlin", move |level, text| {
                ear.lock().unwrap().push((level, text.to_owned()));
            });
            let berlin = peer_span("berlin");
            berlin.in_scope(|| tracing::info!("up: {}", 1));
            peer_span("paris").in_scope(|| tracing::info!("not for berlin"));
            tracing::info!("for nobody");
            drop(listening);
            berlin.in_scope(|| tracing::info!("too late"));
        });
        assert_eq!(*heard.lock().unwrap(), [(Level::INFO, "up: 1".to_owned())]);
    }
}
