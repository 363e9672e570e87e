//! Network namespaces: which one we are in, so that a command can tell that a daemon lives in
//! another; those that `ip netns` has given a name; and new ones that live as long as someone holds them.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace, by its inode on the kernel's `nsfs`. Equal means the same namespace as long
/// as both sides of the comparison are alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NetworkNamespace(u64);

impl NetworkNamespace {
    /// The namespace of the calling thread.
    pub fn current() -> io::Result<Self> {
        Ok(Self(std::fs::metadata("/proc/thread-self/ns/net")?.ino()))
    }

    /// The one whose number another process reported.
    pub fn from_inode(inode: u64) -> Self {
        Self(inode)
    }

    /// The number to report to another process.
    pub fn inode(self) -> u64 {
        self.0
    }
}

/// As `ls -l /proc/PID/ns` and `lsns` write it.
impl fmt::Display for NetworkNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "net:[{}]", self.0)
    }
}

/// A network namespace that is held open. One without a name ends with this value, the sockets in it
/// and the processes that run in it.
#[derive(Debug)]
pub struct HeldNamespace(File);

/// Why a network namespace cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// None has this name.
    #[error("there is no network namespace {name}: make it with \"ip netns add {name}\"")]
    Missing {
        /// The name.
        name: String,
    },
    /// Anything else.
    #[error(
        "can't enter the network namespace {name}: {source}; \"ip netns list\" shows those there are"
    )]
    Os {
        /// The name.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl HeldNamespace {
    /// A new one without a name; all that is in it is a loopback device that is down. Needs
    /// `CAP_SYS_ADMIN`.
    pub fn new() -> io::Result<Self> {
        on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Ok(Self(File::open("/proc/thread-self/ns/net")?))
        })
    }

    /// The one that `ip netns add` has made with this name.
    pub fn named(name: &str) -> Result<Self, NamespaceError> {
        let failed = |source| NamespaceError::Os {
            name: name.to_owned(),
            source,
        };
        let file = File::open(Path::new(NAMES).join(name)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => NamespaceError::Missing {
                name: name.to_owned(),
            },
            _ => failed(error),
        })?;
        let namespace = Self(file);
        // A file of that name may be none: one whose making was interrupted.
        namespace.enter(|| ()).map_err(failed)?;
        Ok(namespace)
    }

    /// Which one it is.
    pub fn id(&self) -> io::Result<NetworkNamespace> {
        Ok(NetworkNamespace(self.0.metadata()?.ino()))
    }

    /// Runs `work` in it, on a thread of its own. Sockets that it makes and processes that it starts
    /// stay there.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        on_a_thread(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET)?;
            Ok(work())
        })
    }
}

impl AsFd for HeldNamespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Where `ip netns` keeps them, each a file of its name (ip-netns(8)).
const NAMES: &str = "/run/netns";

/// A namespace belongs to a thread, so that ours stays what it was.
fn on_a_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(work);
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::sandbox;

    #[test]
    fn what_is_entered_is_the_new_one_and_the_caller_stays() {
        sandbox::run(async {
            let here = NetworkNamespace::current().unwrap();
            let own = HeldNamespace::new().unwrap();
            let there = own.enter(|| NetworkNamespace::current().unwrap()).unwrap();
            assert_ne!(there, here);
            assert_eq!(own.id().unwrap(), there);
            assert_eq!(NetworkNamespace::current().unwrap(), here);
            assert_eq!(
                own.enter(|| NetworkNamespace::current().unwrap()).unwrap(),
                there
            );
        });
    }

    #[test]
    fn a_name_that_nobody_has_comes_with_its_remedy() {
        let problem = HeldNamespace::named("sgre-no-such")
            .unwrap_err()
            .to_string();
        assert!(
            problem.ends_with("make it with \"ip netns add sgre-no-such\""),
            "{problem}"
        );
    }

    #[test]
    fn another_namespace_differs() {
        let outside = NetworkNamespace::current().unwrap();
        sandbox::run(async move {
            assert_ne!(NetworkNamespace::current().unwrap(), outside);
        });
        assert_eq!(NetworkNamespace::from_inode(outside.inode()), outside);
        let link = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        assert_eq!(link.to_str(), Some(outside.to_string().as_str()));
    }
}
