#!/bin/sh
# In Berlin, where strongSwan and Linux's own gretap are the other end: after bridge.sh, in place of
# paris.toml. ../strongswan/ has strongSwan's files, which know nothing of what GRE carries.
set -e

# Without this, Linux sends the device's first packets in clear, before the SA is there.
ip xfrm policy add src 0.0.0.0/0 dst 0.0.0.0/0 proto gre dir out action block priority 4000000

ip link add tap1 type gretap local 192.0.2.2 remote 192.0.2.1 ttl 64
ip link set tap1 mtu 1400 master br-lan up
