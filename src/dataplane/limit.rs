//! A limit to what leaves by one device: so many octets per second, shared fairly between flows.
//!
//! What is read beyond the limit waits here, in a queue of its own for each flow (by a hash that nobody
//! can foresee), and the queues take turns (deficit round robin). Altogether they hold what the
//! limit lets out in [`PATIENCE`]: beyond that the longest queue loses its oldest packet, which tells its
//! sender soonest, so that one flow's backlog delays no other and none grows.
//!
//! Without a limit none of this is on a packet's way. Not here: reading the device, clocks.

use std::collections::VecDeque;
use std::hash::RandomState;
use std::time::{Duration, Instant};

use secure_gre_gre as gre;

use super::batch::Batch;
use super::spread::place;

/// How long a packet waits at most, if all queues are full. Longer is delay that nobody wants, shorter
/// starves a single TCP connection.
const PATIENCE: Duration = Duration::from_millis(15);

/// What may leave at once after a pause: workers don't wake up for every packet.
const BURST: Duration = Duration::from_millis(2);

/// The least that the queues hold, in octets: some packets, however low the limit is.
const LEAST_BACKLOG: usize = 16 * 1500;

/// How many flows are told apart.
const QUEUES: usize = 64;

/// What a queue may send in its turn, in octets: a packet.
const QUANTUM: usize = 1500;

/// See the module.
#[derive(Debug)]
pub(super) struct Limit {
    /// Octets of passengers per second; not 0.
    rate: u64,
    kind: gre::Passengers,
    /// When all that has left has been paid for.
    paid_at: Option<Instant>,
    queues: Vec<Queue>,
    /// Those that hold packets, in the order of their turns.
    turns: VecDeque<usize>,
    backlog: usize,
    /// Buffers that no packet is in.
    vacant: Vec<Vec<u8>>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Queue {
    packets: VecDeque<Vec<u8>>,
    octets: usize,
    /// What is left of its turn, in octets.
    deficit: usize,
}

impl Limit {
    /// Lets `rate` octets of passengers of this kind leave per second; at least one.
    pub(super) fn new(rate: u64, kind: gre::Passengers) -> Self {
        Self {
            rate: rate.max(1),
            kind,
            paid_at: None,
            queues: (0..QUEUES).map(|_| Queue::default()).collect(),
            turns: VecDeque::with_capacity(QUEUES),
            backlog: 0,
            vacant: Vec::new(),
            hasher: RandomState::new(),
        }
    }

    /// Takes the passengers of `batch`, and puts those there that may leave at `now`. How many had to be
    /// given up.
    pub(super) fn pass(&mut self, batch: &mut Batch, now: Instant) -> usize {
        let given_up = batch.passengers().map(|it| self.push(it)).sum();
        batch.clear();
        self.pop(now, |passenger| {
            let place = batch.push(passenger.len());
            place
                .map(|place| place.copy_from_slice(passenger))
                .is_some()
        });
        given_up
    }

    /// Takes a passenger. How many packets had to be given up for it.
    fn push(&mut self, passenger: &[u8]) -> usize {
        let mut buffer = self.vacant.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(passenger);
        let index = self.flow(passenger);
        let Some(queue) = self.queues.get_mut(index) else {
            return 1;
        };
        if queue.packets.is_empty() {
            queue.deficit = 0;
            self.turns.push_back(index);
        }
        queue.octets += buffer.len();
        self.backlog += buffer.len();
        queue.packets.push_back(buffer);
        let mut given_up = 0;
        while self.backlog > self.room() && self.give_up() {
            given_up += 1;
        }
        given_up
    }

    /// Hands the passengers that may leave at `now` to `leave`, until it has no room for one.
    fn pop(&mut self, now: Instant, mut leave: impl FnMut(&[u8]) -> bool) {
        while self.wait(now).is_some_and(|wait| wait.is_zero()) {
            let Some(index) = self.whose_turn() else {
                return;
            };
            let Some(queue) = self.queues.get_mut(index) else {
                return;
            };
            let Some(length) = queue.packets.front().map(Vec::len) else {
                return;
            };
            if !queue.packets.front().is_some_and(|packet| leave(packet)) {
                return;
            }
            queue.deficit = queue.deficit.saturating_sub(length);
            self.remove_oldest(index);
            self.pay(length, now);
        }
    }

    /// How long until a packet may leave; `None`: there is none.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        if self.turns.is_empty() {
            return None;
        }
        let debt = self.paid_at.map(|at| at.saturating_duration_since(now));
        Some(debt.unwrap_or_default().saturating_sub(BURST))
    }

    /// The queue whose turn it is, with enough left of it for its oldest packet.
    fn whose_turn(&mut self) -> Option<usize> {
        loop {
            let &index = self.turns.front()?;
            let queue = self.queues.get_mut(index)?;
            let length = queue.packets.front()?.len();
            if queue.deficit >= length {
                return Some(index);
            }
            queue.deficit += QUANTUM;
            self.turns.rotate_left(1);
        }
    }

    fn pay(&mut self, length: usize, now: Instant) {
        let nanos = (length as u64).saturating_mul(1_000_000_000) / self.rate;
        let from = self.paid_at.map_or(now, |at| at.max(now));
        self.paid_at = Some(from + Duration::from_nanos(nanos));
    }

    /// What the queues may hold together, in octets.
    fn room(&self) -> usize {
        let octets = u128::from(self.rate) * PATIENCE.as_millis() / 1000;
        usize::try_from(octets)
            .unwrap_or(usize::MAX)
            .max(LEAST_BACKLOG)
    }

    /// Gives up the oldest packet of the longest queue. Whether there was one.
    fn give_up(&mut self) -> bool {
        let longest = self
            .queues
            .iter()
            .enumerate()
            .max_by_key(|(_, queue)| queue.octets);
        longest
            .map(|(index, _)| index)
            .is_some_and(|index| self.remove_oldest(index))
    }

    /// Removes a queue's oldest packet. Whether there was one.
    fn remove_oldest(&mut self, index: usize) -> bool {
        let Some(queue) = self.queues.get_mut(index) else {
            return false;
        };
        let Some(packet) = queue.packets.pop_front() else {
            return false;
        };
        queue.octets -= packet.len();
        self.backlog -= packet.len();
        self.vacant.push(packet);
        if queue.packets.is_empty() {
            self.turns.retain(|&turn| turn != index);
        }
        true
    }

    fn flow(&self, passenger: &[u8]) -> usize {
        place(&self.hasher, self.kind, passenger, QUEUES)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(flow: u8, length: usize) -> Vec<u8> {
        let mut packet = vec![0; length.max(24)];
        let total = u16::try_from(packet.len()).unwrap();
        (packet[0], packet[9]) = (0x45, 17);
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 1, flow]);
        packet
    }

    /// What leaves per flow while each flow of `offered` sends so many packets of so many octets a
    /// millisecond.
    fn run(limit: &mut Limit, millis: u64, offered: &[(u8, usize, usize)]) -> Vec<usize> {
        let start = Instant::now();
        let mut left = vec![0; 256];
        for millisecond in 0..millis {
            let now = start + Duration::from_millis(millisecond);
            for &(flow, packets, length) in offered {
                for _ in 0..packets {
                    limit.push(&packet(flow, length));
                }
            }
            limit.pop(now, |packet| {
                left[usize::from(packet[19])] += packet.len();
                true
            });
        }
        left
    }

    /// Flows that have a queue each: which ones, is chance.
    fn apart(limit: &Limit) -> [u8; 3] {
        let mut queues = Vec::new();
        let mut flows = (0..=u8::MAX).filter(|flow| {
            let queue = limit.flow(&packet(*flow, 100));
            let is_new = !queues.contains(&queue);
            queues.push(queue);
            is_new
        });
        std::array::from_fn(|_| flows.next().unwrap())
    }

    #[test]
    fn the_rate_is_kept() {
        for rate in [100_000, 1_250_000, 125_000_000] {
            let mut limit = Limit::new(rate, gre::Passengers::Ip);
            let packets = usize::try_from(rate / 1_000_000).unwrap() + 2;
            let left: usize = run(&mut limit, 2000, &[(1, packets, 1400)]).iter().sum();
            let wanted = 2.0 * rate as f64;
            let ratio = left as f64 / wanted;
            assert!((0.97..1.03).contains(&ratio), "{ratio} of {rate}");
        }
    }

    /// A flow that sends ten times as much gets no more, and small packets are not at a disadvantage.
    #[test]
    fn flows_share_alike() {
        let mut limit = Limit::new(1_250_000, gre::Passengers::Ip);
        let [a, b, c] = apart(&limit);
        let left = run(
            &mut limit,
            4000,
            &[(a, 10, 1400), (b, 1, 1400), (c, 8, 200)],
        );
        for flow in [a, b, c] {
            let share = left[usize::from(flow)] as f64 / (4.0 * 1_250_000.0);
            assert!((0.30..0.37).contains(&share), "{share} for {flow}");
        }
    }

    /// What one flow has queued delays another's packet by no more than a turn.
    #[test]
    fn a_new_flow_waits_for_nobodys_backlog() {
        let mut limit = Limit::new(1_250_000, gre::Passengers::Ip);
        let now = Instant::now();
        let [old, new, _] = apart(&limit);
        for _ in 0..200 {
            limit.push(&packet(old, 1400));
        }
        limit.pop(now, |_| true);
        limit.push(&packet(new, 100));
        let mut before = 0;
        let mut found = false;
        limit.pop(now + Duration::from_secs(1), |packet| {
            found |= packet[19] == new;
            before += usize::from(!found);
            true
        });
        assert!(found && before <= 2, "{before}");
    }

    #[test]
    fn the_backlog_is_bounded() {
        let mut limit = Limit::new(1_250_000, gre::Passengers::Ip);
        let mut given_up = 0;
        for _ in 0..1000 {
            given_up += limit.push(&packet(1, 1400));
        }
        let room = limit.room();
        assert!(limit.backlog <= room);
        assert_eq!(given_up, 1000 - room / 1400);
    }

    #[test]
    fn what_has_no_room_stays() {
        let mut limit = Limit::new(1_250_000, gre::Passengers::Ip);
        limit.push(&packet(1, 1400));
        let now = Instant::now();
        limit.pop(now, |_| false);
        let mut left = 0;
        limit.pop(now, |packet| {
            left += packet.len();
            true
        });
        assert_eq!(left, 1400);
        assert_eq!(limit.wait(now), None);
    }

    proptest! {
        /// Each packet leaves once or is given up, in order within its flow, whatever it looks like.
        #[test]
        fn no_packet_is_lost_without_a_word(
            packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..300),
            rate in 0_u64..10_000_000,
        ) {
            let mut limit = Limit::new(rate, gre::Passengers::Ip);
            let now = Instant::now();
            let mut given_up = 0;
            let mut left = 0;
            for packet in &packets {
                given_up += limit.push(packet);
            }
            limit.pop(now, |_| { left += 1; true });
            let far = now + Duration::from_secs(10_000_000);
            for _ in 0..packets.len() {
                limit.pop(far, |_| { left += 1; true });
                limit.paid_at = None;
            }
            prop_assert_eq!(given_up + left, packets.len());
            prop_assert_eq!(limit.backlog, 0);
        }
    }
}
