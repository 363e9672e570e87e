//! TUN devices: IP packets to and from the kernel, one packet per read and write.
//!
//! A device lives as long as one of its queues is open, and so never outlives the process. Its
//! addresses, routes and MTU are [`netlink`](super::netlink)'s.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;

use super::sys;

/// The name to ask for when any will do: the kernel puts the first free number.
pub const ANY_NAME: &str = "sgre%d";

const CLONE_DEVICE: &str = "/dev/net/tun";

/// A TUN device of ours.
#[derive(Debug)]
pub struct Tun {
    name: String,
    first: Queue,
    others: Vec<Queue>,
}

impl Tun {
    /// Makes the device `name` (at most 15 octets; a `%d` in it becomes the first free number, see
    /// [`ANY_NAME`]), which must not exist, with as many queues. It is down and has no address.
    pub fn create(name: &str, queues: NonZeroUsize) -> Result<Self, TunError> {
        check_name(name)?;
        let mut flags = libc::IFF_TUN | libc::IFF_NO_PI;
        if queues.get() > 1 {
            flags |= libc::IFF_MULTI_QUEUE;
        }
        // Exclusive, or we would attach to a device that someone else runs.
        let (first, name) = attach(name, flags | libc::IFF_TUN_EXCL)?;
        let others = (1..queues.get()).map(|_| Ok(attach(&name, flags)?.0));
        let others = others.collect::<Result<_, TunError>>()?;
        Ok(Self {
            name,
            first,
            others,
        })
    }

    /// The name that the device got.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first queue, and the others; each packet of the kernel comes out of one of them. The
    /// device ends when the last queue is dropped.
    pub fn into_queues(self) -> (Queue, Vec<Queue>) {
        (self.first, self.others)
    }
}

/// One queue of a device; non-blocking. Reads and writes may come from different threads.
#[derive(Debug)]
pub struct Queue(File);

impl Queue {
    /// Reads one packet and returns its length, or `None` when there is none. `buffer` must be as
    /// long as the device's MTU: the kernel cuts what does not fit without a word.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match (&self.0).read(buffer) {
            Ok(length) => Ok(Some(length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives one IP packet to the kernel. `false`: it did not take this one, because the device is
    /// down, memory is short, or the first octet is no IP version; other packets may still pass.
    /// `Err`: the device is gone.
    pub fn write(&self, packet: &[u8]) -> io::Result<bool> {
        match (&self.0).write(packet) {
            Ok(_) => Ok(true),
            Err(error) if is_about_one_packet(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn is_about_one_packet(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(
        errno,
        Some(Errno::EAGAIN | Errno::EIO | Errno::EINVAL | Errno::ENOMEM | Errno::ENOBUFS)
    )
}

/// Why there is no device.
#[derive(Debug, thiserror::Error)]
pub enum TunError {
    /// The kernel has no TUN driver, or this container does not show it.
    #[error(
        "there is no {CLONE_DEVICE}: load the driver with \"modprobe tun\", or start the container \
         with \"--device /dev/net/tun\""
    )]
    NoDriver,
    /// Opening or attaching was refused.
    #[error(
        "not permitted to make the tunnel device {name}: run as root or with CAP_NET_ADMIN (a container \
         also needs \"--device /dev/net/tun\")"
    )]
    NotPermitted {
        /// The name asked for.
        name: String,
    },
    /// Somebody has this name already.
    #[error(
        "a network device {name} exists already (\"ip -d link show {name}\" tells whose): choose \
         another name or remove it"
    )]
    NameTaken {
        /// The name asked for.
        name: String,
    },
    /// Not a device name.
    #[error(
        "{name:?} can't be the name of a network device: 1 to 15 octets without space, \"/\" or \":\""
    )]
    BadName {
        /// The name asked for.
        name: String,
    },
    /// Anything else.
    #[error("can't make the tunnel device {name}: {source}")]
    Os {
        /// The name asked for.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
}

fn attach(name: &str, flags: libc::c_int) -> Result<(Queue, String), TunError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(CLONE_DEVICE)
        .map_err(|source| open_error(name, source))?;
    match sys::attach_tun(file.as_fd(), name, flags) {
        Ok(name) => Ok((Queue(file), name)),
        Err(Errno::EBUSY | Errno::EEXIST) => Err(TunError::NameTaken {
            name: name.to_owned(),
        }),
        Err(Errno::EPERM) => Err(TunError::NotPermitted {
            name: name.to_owned(),
        }),
        Err(errno) => Err(TunError::Os {
            name: name.to_owned(),
            source: errno.into(),
        }),
    }
}

fn open_error(name: &str, source: io::Error) -> TunError {
    match source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT | Errno::ENODEV | Errno::ENXIO) => TunError::NoDriver,
        Some(Errno::EPERM | Errno::EACCES) => TunError::NotPermitted {
            name: name.to_owned(),
        },
        _ => TunError::Os {
            name: name.to_owned(),
            source,
        },
    }
}

/// The kernel's own rule (`dev_valid_name`), told in words instead of EINVAL.
fn check_name(name: &str) -> Result<(), TunError> {
    let forbidden =
        |byte: u8| byte == b'/' || byte == b':' || byte == 0 || byte.is_ascii_whitespace();
    let valid = (1..libc::IFNAMSIZ).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.bytes().any(forbidden);
    if valid {
        Ok(())
    } else {
        Err(TunError::BadName {
            name: name.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests;
