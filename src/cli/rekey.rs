//! `secure-gre rekey`: fresh keys at once, to see whether both ends can agree on them before the
//! lifetime is over (PAINS 8).

use std::path::Path;

use super::{Exit, client_failure, fail, print};
use crate::control::client::{Client, Rekeyed};
use crate::control::protocol::SaKind;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The peer's name.
    name: String,
    /// Rekey the IKE SA instead of the CHILD_SA.
    #[arg(long)]
    ike: bool,
}

pub(super) fn run(arguments: &Arguments, runtime_dir: &Path) -> Exit {
    let Arguments { name, ike } = arguments;
    let (kind, what) = match ike {
        true => (SaKind::Ike, "IKE SA"),
        false => (SaKind::Child, "CHILD_SA"),
    };
    let outcome = Client::connect(runtime_dir).and_then(|mut client| client.rekey(name, kind));
    match outcome {
        Ok(Rekeyed::Done { suite }) => print(&format!("{name}: {what} rekeyed: {suite}\n")),
        Ok(Rekeyed::Failed(problem)) => fail(Exit::Failed, &problem),
        Err(error) => client_failure(&error),
    }
}
