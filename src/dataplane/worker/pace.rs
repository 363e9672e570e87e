//! How a thread waits for what comes next.
//!
//! Under load it looks again before it sleeps, also once more after it has let others run: on a busy
//! core what it waits for comes then, and a wake-up is spared. What comes alone, after a long sleep, is
//! better served by haste: it is sent before anything else is looked for, and then the thread sleeps at
//! once, since whoever has the next part of that packet's way may wait for this core.
//!
//! Not here: clocks and waiting (`super::shift`).

use std::ops::ControlFlow;
use std::time::Duration;

/// See the module.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pace {
    next: Next,
    /// How many packets there were since its last long sleep.
    packets: usize,
}

/// What comes after a turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Next {
    /// Sleep until something is there.
    #[default]
    Sleep,
    /// Look whether something is there.
    Look,
    /// The same, others having run.
    LookAgain,
}

impl Pace {
    /// Whether it sleeps if nothing is there.
    pub(super) fn sleeps(self) -> bool {
        self.next == Next::Sleep
    }

    /// It has slept for so long.
    pub(super) fn woken(&mut self, slept: Duration) {
        if slept >= LONG_SLEEP {
            self.packets = 0;
        }
    }

    /// Whether the first packet is to be sent before a second one is looked for.
    pub(super) const fn is_hasty(self) -> bool {
        self.packets < ALONE
    }

    /// There was a turn with so many packets. `Break`: others should run before the next look.
    pub(super) fn after(&mut self, packets: usize) -> ControlFlow<()> {
        self.packets = self.packets.saturating_add(packets);
        self.next = match (packets, self.next) {
            (1.., _) if self.packets > ALONE => Next::Look,
            (0, Next::Look) => Next::LookAgain,
            _ => Next::Sleep,
        };
        match self.next {
            Next::LookAgain => ControlFlow::Break(()),
            Next::Sleep | Next::Look => ControlFlow::Continue(()),
        }
    }
}

/// Packets that come closer to each other are a stream, which a look more costs no time.
const LONG_SLEEP: Duration = Duration::from_millis(1);

/// So few packets are no stream yet: a question, an answer, and what else they cause.
const ALONE: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn of_a_stream() -> Pace {
        let mut pace = Pace::default();
        pace.woken(LONG_SLEEP);
        assert!(pace.after(ALONE + 1).is_continue());
        pace
    }

    #[test]
    fn a_stream_is_looked_for_twice_before_sleep() {
        let mut pace = of_a_stream();
        for packets in [0, 1] {
            pace.woken(Duration::ZERO);
            assert!(
                pace.after(packets).is_break() == (packets == 0),
                "others run"
            );
            assert!(!pace.sleeps() && !pace.is_hasty());
        }
        assert!(pace.after(0).is_break());
        assert!(!pace.sleeps());
        assert!(pace.after(0).is_continue());
        assert!(pace.sleeps());
        pace.woken(Duration::ZERO);
        assert!(!pace.is_hasty(), "it goes on");
    }

    #[test]
    fn what_comes_alone_after_a_long_sleep_is_served_in_haste() {
        let mut pace = of_a_stream();
        pace.woken(LONG_SLEEP);
        for _ in 0..ALONE {
            assert!(pace.is_hasty());
            assert!(pace.after(1).is_continue());
            assert!(pace.sleeps(), "without a look");
            pace.woken(Duration::ZERO);
        }
        assert!(pace.after(1).is_continue());
        assert!(!pace.sleeps() && !pace.is_hasty(), "a stream");
    }

    #[test]
    fn an_order_alone_keeps_nobody_awake() {
        let mut pace = Pace::default();
        pace.woken(LONG_SLEEP);
        assert!(pace.after(0).is_continue());
        assert!(pace.sleeps());
    }
}
