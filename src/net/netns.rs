//! Which network namespace we are in, so that a command can tell that a daemon lives in another.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::sandbox;

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
