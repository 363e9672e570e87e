//! What follows when the kernel refuses a message: `sendmsg(2)`, udp(7) on `UDP_SEGMENT`.

use nix::errno::Errno;

use super::{Outgoing, SendOutcome};

/// What is done about a refused message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterRefusal {
    /// The kernel cuts nothing on this wire: its packets go singly for good, those of this message
    /// first.
    CutNoMore,
    /// What is wrong is wrong with one of the packets, or with the way: each gets its own verdict.
    Singly,
    /// The message may be a mistake of ours: its packets go singly, and so do all others for good if
    /// nothing is wrong with any of these.
    Doubt,
    /// That is the verdict on all its packets: [`SendOutcome::refusal`], or the end of the socket.
    Final,
}

impl AfterRefusal {
    /// With `errno`, of a message of these packets.
    pub(super) fn of(errno: Errno, message: &[Outgoing<'_>]) -> Self {
        let [first, _, ..] = message else {
            return Self::Final;
        };
        match errno {
            // The device at the end of this route can't sum, or IPsec of the kernel's is in between.
            Errno::EIO => Self::CutNoMore,
            // Kernels before 6.14 say it of a segment beyond the path's MTU, which singly would pass.
            Errno::EINVAL if first.may_fragment => Self::Singly,
            // More segments or octets than the kernel takes, or no checksum asked for; but of a segment
            // beyond the path's MTU kernels before 6.14 say it too, and so does a "blackhole".
            Errno::EINVAL => Self::Doubt,
            // News of the path's MTU, or of what an earlier packet met.
            errno if is_network_error(errno) => Self::Singly,
            _ => Self::Final,
        }
    }
}

impl SendOutcome {
    /// Which count a refused packet goes to; `None`: the socket itself is unusable.
    pub(super) fn refusal(&mut self, errno: Errno) -> Option<&mut usize> {
        match errno {
            Errno::EMSGSIZE => Some(&mut self.too_big),
            // EACCES is a "prohibit" route; EINVAL a "blackhole", or our address has gone.
            Errno::ENETUNREACH
            | Errno::EHOSTUNREACH
            | Errno::ENETDOWN
            | Errno::EACCES
            | Errno::EINVAL => Some(&mut self.unreachable),
            // What an earlier packet met; the kernel tells it to the next one instead of sending it.
            errno if is_network_error(errno) => Some(&mut self.unreachable),
            Errno::EPERM => Some(&mut self.blocked),
            Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM => Some(&mut self.no_room),
            _ => None,
        }
    }
}

/// What the kernel makes of ICMP errors (`icmp_err_convert` and its callers). It leaves them on the
/// connected socket, and the next reception reports and clears them.
pub(super) fn is_network_error(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ENETUNREACH
            | Errno::EHOSTUNREACH
            | Errno::EHOSTDOWN
            | Errno::ENONET
            | Errno::ECONNREFUSED
            | Errno::ENOPROTOOPT
            | Errno::EOPNOTSUPP
            | Errno::EMSGSIZE
            | Errno::EPROTO
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_from_each_refusal() {
        for (errno, of_several) in [
            (Errno::EIO, AfterRefusal::CutNoMore),
            (Errno::EMSGSIZE, AfterRefusal::Singly),
            (Errno::EINVAL, AfterRefusal::Doubt),
            (Errno::ECONNREFUSED, AfterRefusal::Singly),
            (Errno::EHOSTUNREACH, AfterRefusal::Singly),
            (Errno::ENETDOWN, AfterRefusal::Final),
            (Errno::EPERM, AfterRefusal::Final),
            (Errno::EAGAIN, AfterRefusal::Final),
            (Errno::ENOBUFS, AfterRefusal::Final),
            (Errno::EBADF, AfterRefusal::Final),
        ] {
            let message = [Outgoing::default(); 64];
            let to = |packets| AfterRefusal::of(errno, &message[..packets]);
            assert_eq!(to(1), AfterRefusal::Final, "{errno}");
            for packets in [2, 64] {
                assert_eq!(to(packets), of_several, "{errno}");
            }
        }
        let fragmented = Outgoing {
            may_fragment: true,
            ..Outgoing::default()
        };
        for (packets, expected) in [(1, AfterRefusal::Final), (2, AfterRefusal::Singly)] {
            let message = &[fragmented; 2][..packets];
            assert_eq!(AfterRefusal::of(Errno::EINVAL, message), expected);
        }
    }

    /// Each packet is counted under one name.
    #[test]
    fn what_each_refusal_is_counted_as() {
        type Count = fn(&SendOutcome) -> usize;
        let too_big: Count = |outcome| outcome.too_big;
        let unreachable: Count = |outcome| outcome.unreachable;
        let blocked: Count = |outcome| outcome.blocked;
        let no_room: Count = |outcome| outcome.no_room;
        for (errno, count) in [
            (Errno::EMSGSIZE, too_big),
            (Errno::ENETUNREACH, unreachable),
            (Errno::EACCES, unreachable),
            (Errno::EINVAL, unreachable),
            (Errno::ECONNREFUSED, unreachable),
            (Errno::EPERM, blocked),
            (Errno::EAGAIN, no_room),
            (Errno::ENOBUFS, no_room),
        ] {
            let mut outcome = SendOutcome::default();
            *outcome.refusal(errno).expect("the socket stays good") += 1;
            assert_eq!(count(&outcome), 1, "{errno}");
        }
        for errno in [Errno::EIO, Errno::EBADF] {
            assert_eq!(SendOutcome::default().refusal(errno), None, "{errno}");
        }
    }
}
