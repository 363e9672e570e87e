//! The pinned routes of all peers: several behind one NAT have the same one, and it goes with the last.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::net::netlink::Route;

/// See the module. Its clones are one.
#[derive(Debug, Clone, Default)]
pub(in crate::daemon) struct Pins(Arc<Mutex<Vec<Route>>>);

impl Pins {
    /// One more peer needs this route.
    pub(super) fn hold(&self, route: &Route) {
        self.held().push(*route);
    }

    /// A peer needs it no more. Whether nobody does.
    pub(super) fn let_go(&self, route: &Route) -> bool {
        let mut held = self.held();
        if let Some(place) = held.iter().position(|held| held.is_in_place_of(route)) {
            held.swap_remove(place);
        }
        !held.iter().any(|held| held.is_in_place_of(route))
    }

    fn held(&self) -> MutexGuard<'_, Vec<Route>> {
        // Nothing in there can be half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
