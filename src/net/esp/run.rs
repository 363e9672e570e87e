//! Which packets leave as one message that the kernel cuts (`UDP_SEGMENT`, udp(7)).

use super::Outgoing;

/// How many of the first `packets` can go together: of one length and one TOS, but for a shorter
/// last one. At least one, if there is any.
pub(super) fn length(packets: &[Outgoing<'_>]) -> usize {
    let Some((first, rest)) = packets.split_first() else {
        return 0;
    };
    let (size, tos) = (first.esp.len(), first.tos);
    // One without octets can't be told from its neighbours.
    let most = MAX_OCTETS.checked_div(size).unwrap_or(1).min(MAX_SEGMENTS);
    let rest = rest.get(..most.saturating_sub(1)).unwrap_or(rest);
    let alike = |packet: &&Outgoing<'_>| packet.esp.len() == size && packet.tos == tos;
    let full = rest.iter().take_while(alike).count();
    let shorter = rest
        .get(full)
        .is_some_and(|packet| (1..size).contains(&packet.esp.len()) && packet.tos == tos);
    1 + full + usize::from(shorter)
}

/// `UDP_MAX_SEGMENTS` of kernels before 6.9; later ones take 128.
const MAX_SEGMENTS: usize = 64;
/// What an IPv4 packet's length field leaves for the payload of UDP.
const MAX_OCTETS: usize = 65_535 - 20 - 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(sizes: &[usize]) -> usize {
        let buffer = vec![0; 65_535];
        let packets = sizes.iter().map(|size| Outgoing {
            esp: &buffer[..*size],
            ..Outgoing::default()
        });
        length(&packets.collect::<Vec<_>>())
    }

    #[test]
    fn equal_packets_and_one_shorter_go_together() {
        for (sizes, expected) in [
            (&[][..], 0),
            (&[100], 1),
            (&[100, 100, 100], 3),
            (&[100, 100, 60], 3),
            (&[100, 100, 60, 60], 3),
            (&[100, 60, 100], 2),
            (&[100, 101], 1),
            (&[60, 100, 100], 1),
            (&[1, 1, 1], 3),
            (&[100, 0], 1),
            (&[0, 0], 1),
        ] {
            assert_eq!(lengths(sizes), expected, "{sizes:?}");
        }
    }

    #[test]
    fn the_kernels_limits_are_kept() {
        assert_eq!(lengths(&[500; 80]), 64);
        assert_eq!(lengths(&[1440; 80]), 45);
        assert_eq!(lengths(&[40_000, 20_000]), 1);
        assert_eq!(lengths(&[65_507, 1]), 1);
    }

    #[test]
    fn another_tos_is_another_message() {
        let with = |tos| Outgoing {
            esp: &[0; 9][..],
            tos,
            ..Outgoing::default()
        };
        assert_eq!(length(&[with(0), with(0), with(3), with(0)]), 2);
        let mut shorter = with(3);
        shorter.esp = &[0; 8];
        assert_eq!(length(&[with(0), shorter]), 1);
    }
}
