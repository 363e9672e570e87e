//! Routes where `table`, `metric` and `netns` put them: the same prefix in other places is another one.

use crate::lab::topology::LEFT;
use crate::lab::{self, Netns, Product, Topology, product, traffic};

const PREFIX: &str = "10.20.0.0/16";

/// What a namespace's table has for the prefix, in one line.
#[track_caller]
fn routes(netns: &Netns, table: &str) -> String {
    let shown = netns.ip(&format!("route show table {table} {PREFIX}"));
    let words = shown.split_whitespace();
    words.collect::<Vec<_>>().join(" ")
}

/// Tunnels of one peer: two that share the prefix in a tenant's table, one with the same table number
/// outside, two with other metrics in main.
fn tunnels(tenant: &str) -> String {
    let tunnel = |key: u8, more: &str| {
        format!(
            "[[tunnel]]\nkey = {key}\ndevice = \"t{key}\"\naddress = [\"10.255.{key}.1/30\"]\n\
             routes = [\"{PREFIX}\"]\n{more}\n"
        )
    };
    let in_tenant = format!("netns = \"{tenant}\"\ntable = 100");
    [
        tunnel(1, &in_tenant),
        tunnel(2, &in_tenant),
        tunnel(3, "table = 100"),
        tunnel(4, ""),
        tunnel(5, "metric = 200"),
    ]
    .concat()
}

/// Rules lead a tenant's packets to the table; where none carries, no other table is asked.
#[test]
fn one_prefix_in_several_tables_and_namespaces_is_several() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    topology.add_default_routes();
    let (left, right, tenant) = (
        &topology.left,
        topology.add_right(),
        topology.netns("tenant"),
    );
    left.ip("rule add from 10.9.9.9 table 100");
    left.ip("address add 10.9.9.9/32 dev wire");
    let everything = |netns: &Netns| [netns.ip("route show table all"), netns.ip("rule show")];
    let before = [left, &tenant].map(everything);

    let ends: String = (1..=5)
        .map(|key| format!("[[tunnel]]\nkey = {key}\naddress = [\"10.255.{key}.2/30\"]\n"))
        .collect();
    let peer = |address| format!("[peer]\naddress = \"{address}\"\npsk-file = \"lab.psk\"\n");
    let there = format!("{}initiate = false\n{ends}", peer(LEFT));
    let mut there = Product::start_with(&right, &there, "lab.psk");
    let here = format!("{}{}", peer(lab::topology::RIGHT), tunnels(tenant.name()));
    let mut here = Product::start_with(left, &here, "lab.psk");
    here.wait_until_established();
    there.wait_until_established();

    let carried = [
        (
            &tenant,
            "100",
            "10.20.0.0/16 proto 47 metric 100 nexthop dev t1 weight 1 nexthop dev t2 weight 1 \
             unreachable 10.20.0.0/16 proto 47 metric 4294967295",
        ),
        (
            left,
            "100",
            "10.20.0.0/16 dev t3 proto 47 scope link metric 100 \
             unreachable 10.20.0.0/16 proto 47 metric 4294967295",
        ),
        (
            left,
            "main",
            "10.20.0.0/16 dev t4 proto 47 scope link metric 100 \
             10.20.0.0/16 dev t5 proto 47 scope link metric 200 \
             unreachable 10.20.0.0/16 proto 47 metric 4294967295",
        ),
    ];
    for (netns, table, expected) in carried {
        assert_eq!(routes(netns, table), expected);
    }
    let status = here.command("status", &[]).expect("status");
    let rows: Vec<_> = status
        .lines()
        .skip_while(|line| !line.starts_with("ROUTE"))
        .collect();
    let states = rows.iter().filter_map(|row| row.split_whitespace().last());
    let states: Vec<_> = states.take(5).collect();
    assert_eq!(
        states,
        ["STATE", "carries", "by", "carries", "carries"],
        "{status}"
    );

    let capture = topology.capture();
    here.crash();
    for (netns, table, _) in carried {
        let refused = "unreachable 10.20.0.0/16 proto 47 metric 4294967295";
        assert_eq!(routes(netns, table), refused);
    }
    // By the rule to table 100, and by none to main.
    for source in ["10.9.9.9", LEFT] {
        let reply = traffic::ping(left, product::ROUTED_HOST, &format!("-c 2 -I {source}"));
        assert!(!reply.success(), "from {source}: {}", reply.stdout);
    }
    assert_eq!(capture.stop().in_clear(), None);
    here.restart();
    here.wait_until_established();
    for (netns, table, expected) in carried {
        assert_eq!(routes(netns, table), expected);
    }
    assert_eq!(here.interrupt().code, Some(0));
    assert_eq!([left, &tenant].map(everything), before);
}
