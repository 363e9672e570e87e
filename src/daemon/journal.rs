//! What was put on the host and survives us, on disk in the runtime directory before it is done:
//! whoever comes after a crash can undo it, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::net::netlink::{Netlink, NetlinkError, Route};
use crate::net::netns::{HeldNamespace, NamespaceError};

/// What follows the peer's name in the name of its record.
const SUFFIX: &str = ".routes.json";

/// A route of ours, by what identifies it in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    destination: String,
    table: u32,
    metric: u32,
    /// The name of the network namespace that it is in; `None`: the daemon's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    netns: Option<String>,
}

impl Entry {
    pub(super) fn of(netns: Option<&str>, route: &Route) -> Self {
        Self {
            netns: netns.map(str::to_owned),
            destination: route.destination.network().to_string(),
            table: route.table,
            metric: route.metric,
        }
    }
}

/// The record of one peer's routes.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    entries: Vec<Entry>,
}

/// Why a record could not be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file can't be read, written or removed.
    #[error("can't {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The record.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// What is in the file is not ours.
    #[error("{} is damaged ({source}): remove it, and the routes of \"ip route show proto 47\"", path.display())]
    Damaged {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A network namespace that it names can't be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// A route can't be removed.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

impl Journal {
    /// The record of the peer called `name`, empty if there is none.
    pub(super) fn open(runtime_dir: &Path, name: &str) -> Result<Self, JournalError> {
        let path = runtime_dir.join(format!("{name}{SUFFIX}"));
        let entries = match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|source| JournalError::Damaged {
                    path: path.clone(),
                    source,
                })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => {
                return Err(JournalError::Io {
                    action: "read",
                    path,
                    source,
                });
            }
        };
        Ok(Self { path, entries })
    }

    /// The peers that have a record in this runtime directory, in the order of their names.
    pub(super) fn peers(runtime_dir: &Path) -> Result<Vec<String>, JournalError> {
        let failed = |source| JournalError::Io {
            action: "read",
            path: runtime_dir.to_owned(),
            source,
        };
        let files = match fs::read_dir(runtime_dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            files => files.map_err(failed)?,
        };
        let mut peers = Vec::new();
        for file in files {
            let file = file.map_err(failed)?.file_name();
            let peer = file.to_str().and_then(|file| file.strip_suffix(SUFFIX));
            peers.extend(peer.map(str::to_owned));
        }
        peers.sort_unstable();
        Ok(peers)
    }

    /// Whether it names any route.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a route that is about to be made.
    pub(super) fn add(&mut self, entry: Entry) -> Result<(), JournalError> {
        if self.entries.contains(&entry) {
            return Ok(());
        }
        self.entries.push(entry);
        self.write()
    }

    /// Takes out a route that is gone.
    pub(super) fn remove(&mut self, entry: &Entry) -> Result<(), JournalError> {
        self.entries.retain(|other| other != entry);
        self.write()
    }

    /// Removes every route that it names and that carries our mark, then itself. Those in `keep` stay
    /// where they are, so that nothing leaks while they are taken over. `netlink` is that of the
    /// daemon's own namespace.
    pub(super) async fn sweep(
        &mut self,
        netlink: &Netlink,
        keep: &[Entry],
    ) -> Result<(), JournalError> {
        if self.entries.is_empty() {
            return Ok(());
        }
        for netns in self.namespaces() {
            let netlink = match netns.as_deref().map(HeldNamespace::named) {
                None => netlink.clone(),
                Some(Ok(namespace)) => Netlink::connect_in(&namespace)?,
                // Its routes went with it.
                Some(Err(NamespaceError::Missing { .. })) => continue,
                Some(Err(problem)) => return Err(problem.into()),
            };
            for route in netlink.list_own_routes().await? {
                let entry = Entry::of(netns.as_deref(), &route);
                if self.entries.contains(&entry) && !keep.contains(&entry) {
                    netlink.delete_route(&route).await?;
                }
            }
        }
        self.entries.retain(|entry| keep.contains(entry));
        self.write()
    }

    /// Each namespace that it names a route of, once.
    fn namespaces(&self) -> BTreeSet<Option<String>> {
        let namespaces = self.entries.iter().map(|entry| entry.netns.clone());
        namespaces.collect()
    }

    /// Through a second file and a rename: a crash leaves the old record or the new one.
    fn write(&self) -> Result<(), JournalError> {
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |source| JournalError::Io {
                action,
                path,
                source,
            }
        };
        if self.entries.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(io("remove", &self.path)(error))
                }
                _ => Ok(()),
            };
        }
        let json = serde_json::to_vec(&self.entries).map_err(|source| JournalError::Damaged {
            path: self.path.clone(),
            source,
        })?;
        let fresh = self.path.with_extension("new");
        fs::write(&fresh, json).map_err(io("write", &fresh))?;
        fs::rename(&fresh, &self.path).map_err(io("write", &self.path))
    }
}
