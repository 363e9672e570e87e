//! What was put on the host and survives us, on disk in the runtime directory before it is done:
//! whoever comes after a crash can undo it, and nothing else.
//!
//! Several peers may need the same route: the unreachable one of a prefix that they share, the pinned one
//! of peers behind one NAT. Each has it in its record, and it goes with the last.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// The records of all peers of a runtime directory. Its clones are one.
#[derive(Debug, Clone)]
pub(super) struct Records {
    folder: PathBuf,
    /// By the peer's name; without those that are damaged.
    entries: Arc<Mutex<BTreeMap<String, Vec<Entry>>>>,
}

/// The record of one peer's routes.
#[derive(Debug)]
pub(super) struct Journal {
    records: Records,
    name: String,
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
    #[error(
        "{} is damaged ({source}): remove it and bring the peer up, which takes its routes over; those \
         that its file has no more stay until you remove them (\"ip -4 route show table all proto 47\", \
         the same with -6; other peers' are among them)",
        path.display()
    )]
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

impl Records {
    /// Those that earlier runs have left in this runtime directory.
    pub(super) fn load(folder: &Path) -> Result<Self, JournalError> {
        let records = Self {
            folder: folder.to_owned(),
            entries: Arc::default(),
        };
        for peer in records.peers()? {
            // What a damaged one names is nobody's; its peer hears of it in `of`.
            if let Ok(entries) = records.read(&peer) {
                records.held().insert(peer, entries);
            }
        }
        Ok(records)
    }

    /// The peers that have a record, in the order of their names.
    pub(super) fn peers(&self) -> Result<Vec<String>, JournalError> {
        let failed = |source| JournalError::Io {
            action: "read",
            path: self.folder.clone(),
            source,
        };
        let files = match fs::read_dir(&self.folder) {
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

    /// The record of the peer called `name`, empty if there is none.
    pub(super) fn of(&self, name: &str) -> Result<Journal, JournalError> {
        let entries = self.read(name)?;
        self.held().insert(name.to_owned(), entries);
        Ok(Journal {
            records: self.clone(),
            name: name.to_owned(),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}{SUFFIX}"))
    }

    fn read(&self, name: &str) -> Result<Vec<Entry>, JournalError> {
        let path = self.path(name);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| JournalError::Damaged { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(JournalError::Io {
                action: "read",
                path,
                source,
            }),
        }
    }

    /// Through a second file and a rename: a crash leaves the old record or the new one.
    fn write(&self, name: &str, entries: &[Entry]) -> Result<(), JournalError> {
        let path = self.path(name);
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |source| JournalError::Io {
                action,
                path,
                source,
            }
        };
        if entries.is_empty() {
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(io("remove", &path)(error))
                }
                _ => Ok(()),
            };
        }
        let json = serde_json::to_vec(entries).map_err(|source| JournalError::Damaged {
            path: path.clone(),
            source,
        })?;
        let fresh = path.with_extension("new");
        fs::write(&fresh, json).map_err(io("write", &fresh))?;
        fs::rename(&fresh, &path).map_err(io("write", &path))
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Entry>>> {
        // Nothing in there can be half done.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal {
    /// Whether it names any route.
    pub(super) fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// Adds a route that is about to be made.
    pub(super) fn add(&mut self, entry: Entry) -> Result<(), JournalError> {
        let mut entries = self.entries();
        if entries.contains(&entry) {
            return Ok(());
        }
        entries.push(entry);
        self.set(entries)
    }

    /// Takes out a route that is gone.
    pub(super) fn remove(&mut self, entry: &Entry) -> Result<(), JournalError> {
        let mut entries = self.entries();
        entries.retain(|other| other != entry);
        self.set(entries)
    }

    /// Whether another peer's record names the route too, so that it has to stay.
    pub(super) fn is_shared(&self, entry: &Entry) -> bool {
        let all = self.records.held();
        let mut others = all.iter().filter(|(name, _)| **name != self.name);
        others.any(|(_, entries)| entries.contains(entry))
    }

    /// Removes every route that it names and that carries our mark, then itself. Those in `keep` stay
    /// where they are, so that nothing leaks while they are taken over, and so do those of other peers.
    /// `netlink` is that of the daemon's own namespace.
    pub(super) async fn sweep(
        &mut self,
        netlink: &Netlink,
        keep: &[Entry],
    ) -> Result<(), JournalError> {
        let mut entries = self.entries();
        if entries.is_empty() {
            return Ok(());
        }
        let goes = |entry: &Entry| {
            entries.contains(entry) && !keep.contains(entry) && !self.is_shared(entry)
        };
        for netns in namespaces(&entries) {
            let netlink = match netns.as_deref().map(HeldNamespace::named) {
                None => netlink.clone(),
                Some(Ok(namespace)) => Netlink::connect_in(&namespace)?,
                // Its routes went with it.
                Some(Err(NamespaceError::Missing { .. })) => continue,
                Some(Err(problem)) => return Err(problem.into()),
            };
            for route in netlink.list_own_routes().await? {
                if goes(&Entry::of(netns.as_deref(), &route)) {
                    netlink.delete_route(&route).await?;
                }
            }
        }
        entries.retain(|entry| keep.contains(entry));
        self.set(entries)
    }

    fn entries(&self) -> Vec<Entry> {
        let all = self.records.held();
        all.get(&self.name).cloned().unwrap_or_default()
    }

    fn set(&mut self, entries: Vec<Entry>) -> Result<(), JournalError> {
        self.records.write(&self.name, &entries)?;
        let mut all = self.records.held();
        match entries.is_empty() {
            true => all.remove(&self.name),
            false => all.insert(self.name.clone(), entries),
        };
        Ok(())
    }
}

/// Each namespace that one of them is in, once.
fn namespaces(entries: &[Entry]) -> BTreeSet<Option<String>> {
    entries.iter().map(|entry| entry.netns.clone()).collect()
}
