//! Messages on standard error: one line each, plain for people or JSON for machines. Standard output
//! is for data.
//!
//! State changes and what someone may have to act on are said; `-v` adds what is done and why
//! (debug), `-vv` decoded IKE messages. Without either, `SECURE_GRE_LOG` chooses, in `tracing`'s
//! notation (`debug`, `secure_gre=trace`). Secrets never get here: their types do
//! not print.

mod listeners;

use std::fmt;
use std::io;
use std::sync::OnceLock;

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

/// The target of decoded IKE messages, which are traces.
pub const MESSAGES: &str = "secure_gre::messages";

/// What is said, and how.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct Talk {
    /// Say more: -v what is done and why, -vv also each IKE message, decoded, without secrets.
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// How messages on standard error are written.
    #[arg(long, value_name = "FORMAT", default_value = "plain")]
    log_format: Format,
}

/// How a message is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One line for people.
    #[default]
    Plain,
    /// One JSON object on a line, with the time and the level.
    Json,
}

impl Talk {
    /// What makes another process of this program talk so.
    pub fn arguments(self) -> impl Iterator<Item = &'static str> {
        let format = match self.log_format {
            Format::Plain => "--log-format=plain",
            Format::Json => "--log-format=json",
        };
        std::iter::repeat_n("-v", self.verbose.into()).chain([format])
    }

    /// Others' libraries stay as quiet as they are.
    fn filter(self) -> Result<EnvFilter, String> {
        match (self.verbose, std::env::var(FILTER_VARIABLE)) {
            (0, Ok(text)) => EnvFilter::try_new(&text)
                .map_err(|fault| format!("{FILTER_VARIABLE}={text} is not a filter: {fault}")),
            (0, Err(_)) => Ok(EnvFilter::new("info")),
            (1, _) => Ok(EnvFilter::new("info,secure_gre=debug")),
            _ => Ok(EnvFilter::new(format!(
                "info,secure_gre=debug,{MESSAGES}=trace"
            ))),
        }
    }
}

/// What [`start`] was told.
static FORMAT: OnceLock<Format> = OnceLock::new();

/// Whether messages are JSON, and so must be what else is said on standard error.
pub fn is_json() -> bool {
    FORMAT.get() == Some(&Format::Json)
}

/// Directs messages to standard error for the rest of the process, and to whoever listens.
///
/// # Errors
/// The variable's value is not a filter; a text for the user.
pub fn start(talk: Talk) -> Result<Listeners, String> {
    let _ = FORMAT.set(talk.log_format);
    let filter = talk.filter()?;
    let listeners = Listeners::default();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        // They would go to standard error, whose failure they are about, and panic: a terminal that
        // is gone ends no tunnel.
        .log_internal_errors(false);
    let lines = match talk.log_format {
        Format::Plain => lines.event_format(PlainLine).with_filter(filter).boxed(),
        Format::Json => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .with_filter(filter)
            .boxed(),
    };
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
            Level::TRACE if event.metadata().target() == MESSAGES => "",
            Level::TRACE => "trace: ",
        })?;
        context.format_fields(line.by_ref(), event)?;
        writeln!(line)
    }
}
