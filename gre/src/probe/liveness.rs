//! Whether the peer lives, and how good the way to it is: a beat every so often, answered.
//!
//! Loss is counted over the last [`WINDOW`] beats, the round-trip time smoothed as RFC 6298 §2 does,
//! jitter as RFC 3550 §6.4.1 has it, over round trips.

use std::time::{Duration, Instant};

/// The beats of which is known when they were sent, and whether they were answered.
pub const WINDOW: u32 = 64;

/// Beats are numbered modulo this: the top bit of a probe's sequence number stays free for what else
/// is asked. A multiple of [`WINDOW`].
pub const NUMBERS: u32 = 1 << 31;

/// So many intervals without an answer are a dead peer, as BFD has it by default (RFC 5880 §6.8.4).
const DEAD_AFTER: u32 = 3;

/// What has been measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quality {
    /// Of the last beats whose answer is not on its way any more: how many stayed without, per mille.
    pub loss_permille: u16,
    /// The smoothed round-trip time; `None` before the first answer.
    pub round_trip: Option<Duration>,
    /// How much one round trip differs from the next.
    pub jitter: Duration,
}

/// What is known of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It has answered nothing so far: it may not know probes. That is not death.
    Unheard,
    /// It answers.
    Alive,
    /// It has answered, and does so no more.
    Dead,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// Send a beat of this number.
    Beat(u32),
    /// The peer has just been found dead; send a beat of this number all the same.
    Dead(u32),
}

#[derive(Debug, Clone, Copy)]
struct Beat {
    sent: Instant,
    answered: bool,
}

/// Asks the peer, and measures its answers.
#[derive(Debug)]
pub struct Liveness {
    every: Duration,
    next: Instant,
    /// The number of the next beat, less than [`NUMBERS`].
    sequence: u32,
    beats: [Option<Beat>; WINDOW as usize],
    /// When silence becomes death: after the last answer. They come as regularly as they were asked
    /// for, however long the way is. `None` before the first one.
    dead_at: Option<Instant>,
    verdict: Verdict,
    round_trip: Option<Duration>,
    last_round_trip: Option<Duration>,
    jitter: Duration,
}

impl Liveness {
    /// A peer of which nothing is known; the first beat is due at once.
    pub fn new(every: Duration, now: Instant) -> Self {
        Self {
            every,
            next: now,
            sequence: 0,
            beats: [None; WINDOW as usize],
            dead_at: None,
            verdict: Verdict::Unheard,
            round_trip: None,
            last_round_trip: None,
            jitter: Duration::ZERO,
        }
    }

    /// What is known of the peer.
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// When [`poll`](Self::poll) has something to do.
    pub const fn next(&self) -> Instant {
        self.next
    }

    /// What is due at `now`. Beats that were missed are not made up for.
    pub fn poll(&mut self, now: Instant) -> Due {
        if now < self.next {
            return Due::Nothing;
        }
        self.next = now + self.every;
        let number = self.sequence;
        self.sequence = (number + 1) % NUMBERS;
        if let Some(slot) = self.beats.get_mut(slot(number)) {
            *slot = Some(Beat {
                sent: now,
                answered: false,
            });
        }
        if self.dead_at.take_if(|at| *at <= now).is_some() {
            self.verdict = Verdict::Dead;
            return Due::Dead(number);
        }
        Due::Beat(number)
    }

    /// The peer has answered the beat of this number. Whether it was taken for dead. An answer to a beat
    /// that was not sent, too old, or answered before says nothing.
    pub fn answered(&mut self, number: u32, now: Instant) -> bool {
        let age = self.sequence.wrapping_sub(number) % NUMBERS;
        let is_known = number < NUMBERS && (1..=WINDOW).contains(&age);
        let beat = self.beats.get_mut(slot(number)).and_then(Option::as_mut);
        let Some(beat) = beat.filter(|beat| is_known && !beat.answered) else {
            return false;
        };
        beat.answered = true;
        let round_trip = now.saturating_duration_since(beat.sent);
        self.measure(round_trip);
        self.dead_at = Some(now + self.every * DEAD_AFTER);
        std::mem::replace(&mut self.verdict, Verdict::Alive) == Verdict::Dead
    }

    fn measure(&mut self, round_trip: Duration) {
        self.round_trip = Some(match self.round_trip {
            None => round_trip,
            Some(smoothed) => (smoothed * 7 + round_trip) / 8,
        });
        if let Some(last) = self.last_round_trip.replace(round_trip) {
            self.jitter = (self.jitter * 15 + last.abs_diff(round_trip)) / 16;
        }
    }

    /// What has been measured by `now`.
    pub fn quality(&self, now: Instant) -> Quality {
        let answer_time = self.every.max(self.round_trip.unwrap_or(self.every) * 2);
        let due =
            self.beats.iter().flatten().filter(|beat| {
                beat.answered || now.saturating_duration_since(beat.sent) > answer_time
            });
        let (lost, all) = due.fold((0, 0), |(lost, all), beat| {
            (lost + u16::from(!beat.answered), all + 1)
        });
        Quality {
            // At most 64 of 64.
            loss_permille: (lost * 1000).checked_div(all).unwrap_or(0),
            round_trip: self.round_trip,
            jitter: self.jitter,
        }
    }
}

const fn slot(number: u32) -> usize {
    (number % WINDOW) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Probe;

    #[expect(clippy::disallowed_methods, reason = "an instant to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    const EVERY: Duration = Duration::from_millis(100);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Beats from `start` on for `beats` intervals, each of which `answer` says the round trip of.
    fn run(
        liveness: &mut Liveness,
        start: Instant,
        beats: u32,
        answer: impl Fn(u32) -> Option<Duration>,
    ) -> Vec<Due> {
        let mut answers: Vec<(Instant, u32)> = Vec::new();
        let mut seen = Vec::new();
        for tick in 0..beats * 100 {
            let now = start + ms(tick.into());
            answers.retain(|&(at, number)| {
                if at == now {
                    liveness.answered(number, now);
                }
                at > now
            });
            match liveness.poll(now) {
                Due::Nothing => {}
                due @ (Due::Beat(number) | Due::Dead(number)) => {
                    answers.extend(answer(number).map(|time| (now + time, number)));
                    seen.push(due);
                }
            }
        }
        seen
    }

    #[test]
    fn a_peer_that_answers_lives_and_is_measured() {
        let start = start();
        let mut liveness = Liveness::new(EVERY, start);
        let seen = run(&mut liveness, start, 100, |number| {
            (number % 10 != 9).then_some(ms(if number % 2 == 0 { 20 } else { 30 }))
        });
        assert_eq!(seen.len(), 100);
        assert!(
            liveness.verdict() == Verdict::Alive
                && seen.iter().all(|due| matches!(due, Due::Beat(_)))
        );
        let quality = liveness.quality(start + ms(10_000));
        assert!((80..=120).contains(&quality.loss_permille), "{quality:?}");
        let round_trip = quality.round_trip.unwrap();
        assert!((ms(20)..=ms(30)).contains(&round_trip), "{quality:?}");
        assert!((ms(5)..=ms(10)).contains(&quality.jitter), "{quality:?}");
    }

    #[test]
    fn silence_is_death_once_and_an_answer_is_life() {
        let start = start();
        let mut liveness = Liveness::new(EVERY, start);
        run(&mut liveness, start, 10, |_| Some(ms(20)));
        let silent = start + ms(1000);
        let seen = run(&mut liveness, silent, 10, |_| None);
        let dead = seen.iter().position(|due| matches!(due, Due::Dead(_)));
        assert!(matches!(dead, Some(2..=4)), "{seen:?}");
        assert_eq!(
            seen.iter()
                .filter(|due| matches!(due, Due::Dead(_)))
                .count(),
            1
        );
        assert_eq!(liveness.verdict(), Verdict::Dead);
        let again = silent + ms(1000);
        let Due::Beat(number) = liveness.poll(again) else {
            panic!("a dead peer is asked on");
        };
        assert!(liveness.answered(number, again + ms(20)));
        assert_eq!(liveness.verdict(), Verdict::Alive);
        assert!(!liveness.answered(number, again + ms(21)), "answered twice");
    }

    /// A way that is longer than three intervals is not a dead peer.
    #[test]
    fn a_long_way_is_no_death() {
        let start = start();
        let mut liveness = Liveness::new(EVERY, start);
        let seen = run(&mut liveness, start, 50, |_| Some(ms(700)));
        assert!(seen.iter().all(|due| matches!(due, Due::Beat(_))));
        assert_eq!(liveness.quality(start + ms(5000)).loss_permille, 0);
    }

    /// At 20 ms the numbers are used up after 1.4 years: the peer lives on, whoever of the two asks.
    #[test]
    fn a_peer_outlives_the_numbers() {
        let start = start();
        for first in [NUMBERS - 5, NUMBERS - 1, 0] {
            let mut asker = Liveness::new(EVERY, start);
            asker.sequence = first;
            let mut now = start;
            for beat in 0..20 {
                let Due::Beat(number) = asker.poll(now) else {
                    panic!("beat {beat} from {first}");
                };
                assert_eq!(number, (first + beat) % NUMBERS);
                let asked = Probe::beat(number);
                let reached = Probe::parse(&asked.header()).expect("a request");
                let answered = Probe::parse(&reached.answer().header()).expect("an answer");
                assert!(!asker.answered(answered.sequence, now + ms(20)), "it lives");
                assert_eq!(asker.verdict(), Verdict::Alive, "beat {beat} from {first}");
                now += EVERY;
            }
            assert_eq!(asker.quality(now).loss_permille, 0);
            for number in [NUMBERS, NUMBERS | asker.sequence.wrapping_sub(1), u32::MAX] {
                assert!(!asker.answered(number, now), "{number} is no beat");
            }
        }
    }

    #[test]
    fn answers_to_what_was_not_asked_say_nothing() {
        let start = start();
        let mut liveness = Liveness::new(EVERY, start);
        run(&mut liveness, start, 100, |_| None);
        assert_eq!(liveness.verdict(), Verdict::Unheard, "which is not death");
        let now = start + ms(10_000);
        for number in [100, 1000, u32::MAX, 35, 0] {
            assert!(!liveness.answered(number, now), "{number}");
        }
        assert_eq!(liveness.quality(now).loss_permille, 1000);
    }
}
