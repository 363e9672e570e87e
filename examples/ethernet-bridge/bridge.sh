#!/bin/sh
# On both hosts: a bridge with lan0, the network card toward the site. The tunnel's device joins it by
# the hook in berlin.toml and paris.toml.
set -e
ip link add br-lan type bridge
ip link set lan0 master br-lan up
ip link set br-lan up
