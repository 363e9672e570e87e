//! A process that is shut off from the host: user, pid, mount and network namespaces of its own.
//!
//! Two steps, because a pid namespace begins with a child. The parent calls [`detach_children`] and
//! starts one child; that child, process 1 of the new pid namespace, calls [`settle`]. When it ends,
//! for whatever reason, the kernel ends all it has started, and with the last of them go the network
//! namespaces, their devices and the files in its temporary folder. Nothing has a name outside.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{getegid, geteuid};

/// Gives the children of this process a pid namespace; without `CAP_SYS_ADMIN`, also this process
/// and them a user namespace in which they are root. To be called before any thread is started.
pub fn detach_children() -> Result<(), IsolationError> {
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_ADMIN).unwrap_or(false) {
        return unshare(CloneFlags::CLONE_NEWPID).map_err(refused("make a pid namespace"));
    }
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| IsolationError::NoUserNamespace {
        reason: Refusal::of_user_namespaces(),
        source: errno.into(),
    })?;
    // The files below are root's as long as we are not dumpable, which a program with file
    // capabilities is not.
    prctl::set_dumpable(true).map_err(refused("own our files in /proc"))?;
    for (file, content) in [
        // Without this, no group may be mapped (user_namespaces(7)).
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {user} 1")),
        ("gid_map", format!("0 {group} 1")),
    ] {
        fs::write(Path::new("/proc/self").join(file), content).map_err(|source| {
            IsolationError::Refused {
                action: "become root of a user namespace",
                source,
            }
        })?;
    }
    // Where a security module takes the capabilities of a user namespace away, this is what fails.
    unshare(CloneFlags::CLONE_NEWPID).map_err(|errno| IsolationError::NoUserNamespace {
        reason: Refusal::of_user_namespaces(),
        source: errno.into(),
    })
}

/// The rest, for the child: it ends with its parent, and has network and mounts of its own, and an
/// empty temporary folder in memory, whose path is the answer.
pub fn settle() -> Result<PathBuf, IsolationError> {
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(refused("be ended with the parent"))?;
    unshare(CloneFlags::CLONE_NEWNET).map_err(refused("make a network namespace"))?;
    unshare(CloneFlags::CLONE_NEWNS).map_err(refused("make a mount namespace"))?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(refused("keep our mounts to ourselves"))?;
    let folder = std::env::temp_dir();
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(none, &folder, Some("tmpfs"), flags, Some("mode=0700"))
        .map_err(refused("mount a temporary folder"))?;
    Ok(folder)
}

/// Why a process could not be shut off from the host.
#[derive(Debug, thiserror::Error)]
pub enum IsolationError {
    /// An ordinary user may not have namespaces here.
    #[error("an ordinary user may not make a user namespace here ({source}): {}", .reason.advice())]
    NoUserNamespace {
        /// Which setting stands in the way.
        reason: Refusal,
        /// What the kernel said.
        source: io::Error,
    },
    /// Anything else.
    #[error(
        "can't {action}: {source}. A container that forbids it needs more rights, as with \
         \"--privileged\""
    )]
    Refused {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The setting of this host that keeps user namespaces from ordinary users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There may be none at all.
    Count,
    /// Debian's switch.
    Debian,
    /// Ubuntu's switch.
    AppArmor,
    /// None that we know.
    Unknown,
}

impl Refusal {
    fn of_user_namespaces() -> Self {
        let is = |setting: &str, value: &str| {
            fs::read_to_string(Path::new("/proc/sys").join(setting))
                .is_ok_and(|text| text.trim() == value)
        };
        if is("user/max_user_namespaces", "0") {
            Self::Count
        } else if is("kernel/unprivileged_userns_clone", "0") {
            Self::Debian
        } else if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
            Self::AppArmor
        } else {
            Self::Unknown
        }
    }

    const fn advice(self) -> &'static str {
        match self {
            Self::Count => {
                "run it with sudo, or allow it with \"sysctl user.max_user_namespaces=10000\""
            }
            Self::Debian => {
                "run it with sudo, or allow it with \"sysctl kernel.unprivileged_userns_clone=1\""
            }
            Self::AppArmor => {
                "run it with sudo, or allow it with \
                 \"sysctl kernel.apparmor_restrict_unprivileged_userns=0\""
            }
            Self::Unknown => {
                "run it with sudo, or, in a container, start that with \"--privileged\""
            }
        }
    }
}

fn refused(action: &'static str) -> impl Fn(Errno) -> IsolationError {
    move |errno| IsolationError::Refused {
        action,
        source: errno.into(),
    }
}
