use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

/// RFC 4303 Appendix A2 without its cases and without forgetting: every accepted number, and
/// arithmetic in integers that cannot wrap.
struct Model {
    packets: i128,
    top: i128,
    accepted: HashSet<i128>,
}

impl Model {
    fn new(packets: u32, top: u64) -> Self {
        let top = i128::from(top);
        Self {
            packets: i128::from(packets),
            top,
            accepted: HashSet::from([top]),
        }
    }

    /// The only number with this low half among the 2^32 that start at the window's bottom.
    fn infer(&self, low: u32) -> Option<u64> {
        let bottom = self.top - self.packets + 1;
        let seq = bottom + (i128::from(low) - bottom).rem_euclid(1 << 32);
        u64::try_from(seq).ok()
    }

    fn accept(&mut self, seq: u64) -> Result<bool, Drop> {
        let seq = i128::from(seq);
        if seq == 0 || seq <= self.top - self.packets {
            return Err(Drop::ReplayOld);
        }
        if !self.accepted.insert(seq) {
            return Err(Drop::ReplayDuplicate);
        }
        let newest = seq > self.top;
        self.top = self.top.max(seq);
        Ok(newest)
    }
}

/// Where the next packet lies in relation to the highest so far.
fn step(packets: u32) -> impl Strategy<Value = i128> {
    let packets = i128::from(packets);
    prop_oneof![
        8 => -packets - 2..=packets + 2,
        4 => -3..=70i128,
        2 => -packets - 1..=1 - packets,
        1 => prop::sample::select(vec![packets - 1, packets, packets + 1, packets + 64]),
        1 => -3 * packets..=300_000i128,
        1 => 0..=(1i128 << 32) - packets,
        1 => -(1i128 << 33)..=1 << 33,
    ]
}

fn window_packets() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![64, 128, 192, 4096, 8192])
}

/// Numbers around which something may go wrong, for a window of this many packets.
fn start(packets: u32) -> impl Strategy<Value = u64> {
    let landmarks = [
        0,
        packets.into(),
        1 << 32,
        (1 << 32) + u64::from(packets),
        7 << 32,
    ];
    (prop::sample::select(landmarks.to_vec()), -70..=70i64)
        .prop_map(|(landmark, offset)| landmark.saturating_add_signed(offset))
        .boxed()
        .prop_union(prop::sample::select(vec![u64::MAX - 5000, u64::MAX - 1]).boxed())
}

fn scenario() -> impl Strategy<Value = (u32, u64, Vec<i128>)> {
    window_packets().prop_flat_map(|packets| {
        (
            Just(packets),
            start(packets),
            prop::collection::vec(step(packets), 1..200),
        )
    })
}

fn started(packets: u32, top: u64) -> Window {
    let mut window = Window::new(packets);
    window.skip_to(top);
    window
}

proptest! {
    /// D45, D46, RFC 4303 §3.4.3 and Appendix A2
    #[test]
    fn extended_numbers_agree_with_the_model((packets, top, steps) in scenario()) {
        let (mut window, mut model) = (started(packets, top), Model::new(packets, top));
        for step in steps {
            let sent = (model.top + step).clamp(0, u64::MAX.into());
            let low = u32::try_from(sent % (1 << 32)).unwrap();
            let inferred = window.infer(low);
            prop_assert_eq!(inferred, model.infer(low));
            if (0..1 << 32).contains(&(sent - (model.top - model.packets + 1))) {
                prop_assert_eq!(inferred.map(i128::from), Some(sent));
            }
            if let Some(seq) = inferred {
                let checked = window.check(seq);
                let accepted = window.accept(seq);
                prop_assert_eq!(accepted, model.accept(seq));
                prop_assert_eq!(checked, accepted.map(|_| ()));
            }
        }
    }

    /// D45, RFC 4303 §3.4.3
    #[test]
    fn short_numbers_agree_with_the_model((packets, top, steps) in scenario()) {
        let top = top.min(u32::MAX.into());
        let (mut window, mut model) = (started(packets, top), Model::new(packets, top));
        for step in steps {
            let seq = (model.top + step).clamp(0, u32::MAX.into());
            let seq = u64::try_from(seq).unwrap();
            let checked = window.check(seq);
            let accepted = window.accept(seq);
            prop_assert_eq!(accepted, model.accept(seq));
            prop_assert_eq!(checked, accepted.map(|_| ()));
        }
    }
}

/// D46, RFC 4303 Appendix A2.2, with a window of 64.
#[test]
fn inference_by_the_appendix() {
    const NEXT: u64 = 1 << 32;
    let cases = [
        ("the first packet", 0, 1, Some(1)),
        ("first subspace, before its start", 0, u32::MAX, None),
        (
            "first subspace, the last number before its start",
            10,
            0xffff_ffcb,
            None,
        ),
        (
            "first subspace, as far ahead as it goes",
            10,
            0xffff_ffca,
            Some(0xffff_ffca),
        ),
        ("case A, the bottom", 63, 0, Some(0)),
        (
            "case A, one before the bottom",
            NEXT + 64,
            0,
            Some(2 * NEXT),
        ),
        ("case A, ahead", 100, u32::MAX, Some(u64::from(u32::MAX))),
        (
            "case A at the end of a subspace, the next",
            NEXT - 1,
            0,
            Some(NEXT),
        ),
        (
            "case B, the previous subspace",
            NEXT + 62,
            u32::MAX,
            Some(NEXT - 1),
        ),
        ("case B, the bottom", NEXT, 0xffff_ffc1, Some(NEXT - 63)),
        (
            "case B, one before the bottom",
            NEXT,
            0xffff_ffc0,
            Some(NEXT + 0xffff_ffc0),
        ),
        ("case B, this subspace", NEXT + 5, 3, Some(NEXT + 3)),
        ("the last subspace has no next", u64::MAX, 0, None),
    ];
    for (name, top, low, seq) in cases {
        assert_eq!(started(64, top).infer(low), seq, "{name}");
    }
}

/// D45, RFC 4303 §3.3.3
#[test]
fn number_zero_is_never_accepted() {
    let mut window = Window::new(64);
    assert_eq!(window.accept(0), Err(Drop::ReplayOld));
    assert_eq!(window.accept(1), Ok(true));
    assert_eq!(window.accept(0), Err(Drop::ReplayOld));
}

#[test]
fn the_window_is_as_wide_as_asked_for() {
    for (asked, packets) in [(0, 64), (64, 64), (65, 128), (4096, 4096), (4097, 4160)] {
        let mut window = Window::new(asked);
        assert_eq!(window.accept(100_000), Ok(true));
        assert_eq!(
            window.accept(100_000 - packets),
            Err(Drop::ReplayOld),
            "{asked}"
        );
        assert_eq!(window.accept(100_001 - packets), Ok(false), "{asked}");
    }
    assert_eq!(Window::new(u32::MAX).packets, MAX_WINDOW_PACKETS);
}
