//! Messages for people, on standard error: one plain line each. Standard output is for data.
//!
//! `SECURE_GRE_LOG` chooses what is said, in `tracing`'s notation (`debug`, `secure_gre=trace`);
//! else state changes and what someone may have to act on. Secrets never get here: their types do
//! not print.

mod listeners;

use std::fmt;
use std::io;

use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

pub use self::listeners::{Listeners, Listening, peer_span};

/// The variable that chooses what is said.
pub const FILTER_VARIABLE: &str = "SECURE_GRE_LOG";

/// Directs messages to standard error for the rest of the process, and to whoever listens.
///
/// # Errors
/// The variable's value is not a filter; a text for the user.
pub fn start() -> Result<Listeners, String> {
    let filter = match std::env::var(FILTER_VARIABLE) {
        Ok(text) => EnvFilter::try_new(&text)
            .map_err(|fault| format!("{FILTER_VARIABLE}={text} is not a filter: {fault}"))?,
        Err(_) => EnvFilter::new("info"),
    };
    let listeners = Listeners::default();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .event_format(PlainLine)
        // They would go to standard error, whose failure they are about, and panic: a terminal that
        // is gone ends no tunnel.
        .log_internal_errors(false)
        .with_filter(filter);
    tracing_subscriber::registry()
        .with(lines)
        .with(listeners.clone().with_filter(LevelFilter::INFO))
        .try_init()
        .map_err(|fault| format!("messages are directed elsewhere already: {fault}"))?;
    Ok(listeners)
}

/// The message and its fields; a word before it where it is not plain information.
struct PlainLine;

impl<S, N> FormatEvent<S, N> for PlainLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        line.write_str(match *event.metadata().level() {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            Level::INFO => "",
            Level::DEBUG => "debug: ",
            Level::TRACE => "trace: ",
        })?;
        context.format_fields(line.by_ref(), event)?;
        writeln!(line)
    }
}
