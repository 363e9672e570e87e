#!/bin/sh
# The GRE device of the strongSwan host (192.0.2.2), for the peer.toml beside this file.
set -e

# Without this, Linux sends the device's first packets in clear, before the SA is there.
ip xfrm policy add src 0.0.0.0/0 dst 0.0.0.0/0 proto gre dir out action block priority 4000000

ip link add gre1 type gre local 192.0.2.2 remote 192.0.2.1 ttl 64
ip link set gre1 mtu 1400 multicast on up
ip addr add 10.255.0.2/30 dev gre1
ip addr add fd00:255::2/64 dev gre1
