use proptest::prelude::*;

use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A path with a virtual clock: what is bigger than `mtu` vanishes.
struct Path {
    now: Instant,
    mtu: u16,
    round_trip: Duration,
    search: Search,
    on_their_way: Vec<(Instant, u32, u16)>,
    sent: usize,
}

impl Path {
    #[expect(clippy::disallowed_methods, reason = "an instant to count from")]
    fn new(mtu: u16, round_trip: Duration) -> Self {
        let now = Instant::now();
        Self {
            now,
            mtu,
            round_trip,
            search: Search::new(1500, now),
            on_their_way: Vec::new(),
            sent: 0,
        }
    }

    /// For so long; `lose` says which packets are lost by chance.
    fn run(&mut self, time: Duration, mut lose: impl FnMut(u16) -> bool) {
        let end = self.now + time;
        while self.now < end {
            let now = self.now;
            self.on_their_way.retain(|&(at, round, size)| {
                if at <= now {
                    self.search.answered(round, size, now);
                }
                at > now
            });
            if let Some(round) = self.search.poll(now) {
                for size in round.sizes() {
                    self.sent += 1;
                    if size <= self.mtu && !lose(size) {
                        let at = now + self.round_trip;
                        self.on_their_way.push((at, round.number, size));
                    }
                }
            }
            self.now += ms(1);
        }
    }
}

/// PAINS 12: a path of 1420 octets that says nothing. Packets get small enough within a tenth of a
/// second and a few round trips, and then as large as the path takes.
#[test]
fn a_black_hole_is_found_at_once() {
    let mut path = Path::new(1420, ms(10));
    path.run(ms(125), |_| false);
    assert_eq!(path.search.passes(), 1280);
    path.run(ms(2000), |_| false);
    let passes = path.search.passes();
    assert!((1420 - CLOSE_ENOUGH..=1420).contains(&passes), "{passes}");
    assert!(path.search.is_limited());
}

#[test]
fn a_path_that_takes_all_is_left_as_it_is() {
    let mut path = Path::new(1500, ms(10));
    path.run(ms(60_000), |_| false);
    assert_eq!(path.search.passes(), 1500);
    assert!(!path.search.is_limited());
    assert!(path.sent <= 3 * 12, "{} packets in a minute", path.sent);
}

/// A peer that answers no probes is not a path that takes no packets.
#[test]
fn nothing_follows_from_silence() {
    let mut path = Path::new(0, ms(10));
    path.run(ms(120_000), |_| false);
    assert_eq!(path.search.passes(), 1500);
    assert!(
        path.sent <= 3 * 3 * 4,
        "{} packets in two minutes",
        path.sent
    );
}

#[test]
fn a_black_hole_that_opens_later_is_found_and_one_that_closes_is_left() {
    let mut path = Path::new(1500, ms(20));
    path.run(ms(20_000), |_| false);
    path.mtu = 1300;
    path.run(ms(7_000), |_| false);
    let passes = path.search.passes();
    assert!((1284..=1300).contains(&passes), "{passes}");
    path.mtu = 1500;
    path.run(ms(500_000), |_| false);
    assert_eq!(path.search.passes(), passes, "a limit has its time");
    path.run(ms(120_000), |_| false);
    assert_eq!(path.search.passes(), 1500);
}

/// A limit that is still there when it is looked for anew stays in force all the while.
#[test]
fn raising_in_vain_costs_nothing() {
    let mut path = Path::new(1400, ms(20));
    path.run(ms(5_000), |_| false);
    let passes = path.search.passes();
    for _ in 0..700 {
        path.run(ms(1_000), |_| false);
        assert!(path.search.passes() >= passes);
        assert!(path.search.passes() <= 1400);
    }
}

#[test]
fn a_smaller_path_than_ipv6_asks_for_is_found() {
    let mut path = Path::new(1000, ms(10));
    path.run(ms(3_000), |_| false);
    let passes = path.search.passes();
    assert!((1000 - CLOSE_ENOUGH..=1000).contains(&passes), "{passes}");
}

#[test]
fn another_link_is_looked_at_afresh() {
    let mut path = Path::new(1400, ms(10));
    path.run(ms(3_000), |_| false);
    path.search.retarget(1400, path.now);
    assert_eq!(path.search.passes(), 1400);
    path.run(ms(100), |_| false);
    assert!(!path.search.is_limited());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever is lost by chance, no size is believed that the path does not take, once a round has
    /// had its time; without loss the limit is found.
    #[test]
    fn what_is_believed_passes(
        mtu in 576_u16..=1500,
        round_trip in 1_u64..400,
        lost in prop::collection::vec(any::<bool>(), 0..40),
    ) {
        let mut path = Path::new(mtu, ms(round_trip));
        let mut lost = lost.into_iter();
        path.run(ms(20_000), |_| lost.next().unwrap_or(false));
        path.run(ms(100_000), |_| false);
        let passes = path.search.passes();
        prop_assert!(passes <= mtu, "{passes} of {mtu}");
        path.run(ms(700_000), |_| false);
        let passes = path.search.passes();
        prop_assert!(passes + CLOSE_ENOUGH >= mtu && passes <= mtu, "{passes} of {mtu}");
    }
}
