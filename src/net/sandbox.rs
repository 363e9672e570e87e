//! Tests that change a host, each in a network namespace of its own.

use std::future::Future;

use nix::sched::{CloneFlags, unshare};

/// Runs `test` on a thread of its own in a fresh network namespace with the loopback up, on a
/// current-thread runtime; both end with it. Without the privilege it fails where `CI` is set, and
/// says so and passes elsewhere.
pub(super) fn run(test: impl Future<Output = ()> + Send + 'static) {
    let thread = std::thread::spawn(|| {
        if let Err(errno) = unshare(CloneFlags::CLONE_NEWNET) {
            assert!(
                std::env::var_os("CI").is_none(),
                "no network namespace: {errno}"
            );
            eprintln!("not tested: a network namespace needs root ({errno})");
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let netlink = super::netlink::Netlink::connect().unwrap();
            let loopback = netlink.link_by_name("lo").await.unwrap();
            netlink
                .bring_up(loopback.index, loopback.mtu)
                .await
                .unwrap();
            test.await;
        });
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}
