//! TUN and TAP devices: IP packets, or Ethernet frames, to and from the kernel, one per read and write.
//!
//! With [`Offloads`] such a packet may be a super-packet of up to 64 KiB, many segments of one flow,
//! and what is to be done with it stands in the header before it (`vnet`). Every device has that
//! header, so that one without offloads differs only in what it says.
//!
//! A device lives as long as one of its queues is open, and so never outlives the process. Its
//! addresses, routes and MTU are [`netlink`](super::netlink)'s.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;

use super::sys;

mod vnet;

pub use self::vnet::{Offload, PartialChecksum, SegmentKind, Segmentation};

/// The name to ask for when any will do: the kernel puts the first free number.
pub const ANY_NAME: &str = "sgre%d";

/// What a device's packets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// IP packets: a TUN device.
    Ip,
    /// Ethernet frames: a TAP device.
    Ethernet,
}

/// Which super-packets pass between the kernel and us, both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Offloads {
    /// None: each packet is whole, and its checksums are complete.
    None,
    /// Those of TCP.
    Tcp,
    /// Those of UDP too (Linux 6.2).
    TcpAndUdp,
}

const CLONE_DEVICE: &str = "/dev/net/tun";

/// A TUN or TAP device of ours.
#[derive(Debug)]
pub struct Tun {
    name: String,
    first: Queue,
    others: Vec<Queue>,
}

impl Tun {
    /// Makes the device `name` (at most 15 octets; a `%d` in it becomes the first free number, see
    /// [`ANY_NAME`]), which must not exist, with as many queues, and with `offloads` as far as the
    /// kernel has them. It is down and has no address.
    pub fn create(
        name: &str,
        layer: Layer,
        queues: NonZeroUsize,
        offloads: Offloads,
    ) -> Result<Self, TunError> {
        check_name(name)?;
        let kind = match layer {
            Layer::Ip => libc::IFF_TUN,
            Layer::Ethernet => libc::IFF_TAP,
        };
        let mut flags = kind | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        if queues.get() > 1 {
            flags |= libc::IFF_MULTI_QUEUE;
        }
        // Exclusive, or we would attach to a device that someone else runs.
        let (first, name) = attach(name, flags | libc::IFF_TUN_EXCL, offloads)?;
        let others = (1..queues.get()).map(|_| Ok(attach(&name, flags, offloads)?.0));
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
pub struct Queue {
    file: File,
    offloads: Offloads,
}

/// What [`Queue::read`] brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Octets of the packet.
    pub length: usize,
    /// What is left to do in it.
    pub offload: Offload,
}

impl Queue {
    /// Which super-packets it gives and takes.
    pub const fn offloads(&self) -> Offloads {
        self.offloads
    }

    /// Reads one packet, or says `None` when there is none. `buffer` must be as long as any packet
    /// can be, 65535 octets with offloads: the kernel cuts what does not fit without a word.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Option<Reading>> {
        let mut header = [0; Offload::HEADER_LEN];
        let mut parts = [IoSliceMut::new(&mut header), IoSliceMut::new(buffer)];
        match (&self.file).read_vectored(&mut parts) {
            Ok(length) => Ok(Some(Reading {
                length: length.saturating_sub(header.len()),
                offload: Offload::from_bytes(header),
            })),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives one packet to the kernel, which does what `offload` leaves to it. `false`: it did not
    /// take this one, because the device is down, memory is short, or the first octet is no IP
    /// version; other packets may still pass. `Err`: the device is gone.
    pub fn write(&self, packet: &[u8], offload: Offload) -> io::Result<bool> {
        let header = offload.to_bytes();
        let parts = [IoSlice::new(&header), IoSlice::new(packet)];
        match (&self.file).write_vectored(&parts) {
            Ok(_) => Ok(true),
            Err(error) if is_about_one_packet(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// All queues of a device, of which there is one at least. Whoever writes a flow's packets chooses the
/// queue out of which the kernel's packets of that flow come.
#[derive(Debug)]
pub struct Queues(Box<[Queue]>);

impl Queues {
    /// The queue with this number, from 0.
    pub fn get(&self, number: usize) -> Option<&Queue> {
        self.0.get(number)
    }

    /// How many there are.
    #[expect(clippy::len_without_is_empty, reason = "there is one at least")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Which super-packets they give and take.
    pub fn offloads(&self) -> Offloads {
        let offloads = self.0.iter().map(Queue::offloads);
        offloads.min().unwrap_or(Offloads::None)
    }
}

impl From<Tun> for Queues {
    fn from(tun: Tun) -> Self {
        let (first, others) = tun.into_queues();
        Self([first].into_iter().chain(others).collect())
    }
}

impl From<Queue> for Queues {
    fn from(queue: Queue) -> Self {
        Self(Box::new([queue]))
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
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

fn attach(name: &str, flags: libc::c_int, offloads: Offloads) -> Result<(Queue, String), TunError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(CLONE_DEVICE)
        .map_err(|source| open_error(name, source))?;
    match sys::attach_tun(file.as_fd(), name, flags) {
        Ok(name) => {
            let offloads = agree(&file, offloads);
            Ok((Queue { file, offloads }, name))
        }
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

/// Agrees with the kernel on `wanted`, or on as much of it as there is.
fn agree(file: &File, wanted: Offloads) -> Offloads {
    let tcp = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
    let udp = libc::TUN_F_USO4 | libc::TUN_F_USO6;
    [(Offloads::TcpAndUdp, tcp | udp), (Offloads::Tcp, tcp)]
        .into_iter()
        .filter(|(offloads, _)| *offloads <= wanted)
        .find(|(_, flags)| sys::set_tun_offload(file.as_fd(), *flags).is_ok())
        .map_or(Offloads::None, |(offloads, _)| offloads)
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
