#!/bin/sh
# Init of the laboratory's guest: mounts, modules, one network device, then the command loop.
# LABDIR (a folder of the host) and ADDRESS come from the kernel command line.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin STRONGSWAN_CONF=/run/lab/strongswan.conf

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
for folder in /run /tmp /var/log /var/lib; do mount -t tmpfs tmpfs $folder; done
mkdir -p /run/lab /run/mod/lib
mount -t hostfs -o "$LABDIR" none /run/lab

# The modules lie outside /lib/modules. All that is used is loaded here in one go; after that the
# kernel must not ask for more: it would start one modprobe per cipher template, in vain, and the
# first SA would take seconds.
ln -s /usr/lib/uml/modules /run/mod/lib/modules
modprobe -d /run/mod -a ipv6 xfrm_user af_key esp4 esp6 ip_gre ip6_gre \
	authenc authencesn echainiv seqiv drbg hmac sha512_generic xcbc cmac \
	gcm ghash-generic ctr cbc ccm chacha20poly1305 chacha_generic poly1305_generic
echo >/proc/sys/kernel/modprobe

# Answers pings to multicast groups, as routers do.
echo 0 >/proc/sys/net/ipv4/icmp_echo_ignore_broadcasts
ip link set lo up
ip addr add "$ADDRESS" dev vec0
ip link set vec0 up

# rc.N appears complete or not at all.
cd /run/lab || exit
while read -r number; do
	sh "req.$number" >"out.$number" 2>"err.$number" </dev/null
	echo $? >"rc.$number.part"
	mv "rc.$number.part" "rc.$number"
done </dev/ttyS0
echo o >/proc/sysrq-trigger
