//! What a test sees of the datagrams between two hosts, and does to them.

use std::cell::RefCell;
use std::rc::Rc;

use secure_gre_sim::{Frame, Sim, Verdict};

use super::Host;

/// Every datagram that was sent, whatever became of it.
pub(crate) type Sent = Rc<RefCell<Vec<Frame>>>;

pub(crate) fn record(sim: &mut Sim<Host>) -> Sent {
    record_and(sim, |_, _| Verdict::Pass)
}

/// As [`record`]; `verdict` says what becomes of each.
pub(crate) fn record_and(
    sim: &mut Sim<Host>,
    mut verdict: impl FnMut(&Frame, usize) -> Verdict + 'static,
) -> Sent {
    let sent = Sent::default();
    let sink = Rc::clone(&sent);
    sim.tap(move |frame, number| {
        sink.borrow_mut().push(frame.clone());
        verdict(frame, number)
    });
    sent
}

/// The datagrams of these numbers do not arrive.
pub(crate) fn lose(sim: &mut Sim<Host>, numbers: [usize; 2]) {
    sim.tap(move |_, number| {
        if numbers.contains(&number) {
            Verdict::Drop
        } else {
            Verdict::Pass
        }
    });
}
