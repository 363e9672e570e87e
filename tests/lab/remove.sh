# Removes the network namespaces whose names match the pattern $1, with all that runs in them, and the
# folders of such names.
for path in /run/netns/$1; do
	[ -e "$path" ] || continue
	name=${path##*/}
	# What is on its way into the namespace has arrived by the next look, and what was killed is gone.
	for look in $(seq 200); do
		pids=$(ip netns pids "$name")
		[ -n "$pids" ] || break
		kill -KILL $pids 2>/dev/null
		sleep 0.05
	done
	ip netns del "$name"
done
rm -rf /etc/netns/$1 "${TMPDIR:-/tmp}"/$1
