# shellcheck shell=bash
#
# Saves where not the processor is the limit but the disk, or the link to a standby. Both are limited on
# purpose, to little, so that they are the limit on any machine: what counts is the bytes of a save.
#
# The disk by a cgroup, which scripts/bench joins if root calls it. The link is the loopback device of a
# network of its own, in which the two servers are; clients come by a socket in a folder, as ever. Where one
# of these is not to be had, it is left out.
#
# shellcheck disable=SC2154 # $work, $short, $server and $cgroup are those of scripts/bench

# shellcheck source=bench/churn.sh
. bench/churn.sh

link=8mbit     # of the link, a second
disk=4000000   # bytes that can be written, a second
clients=16
streams=4000

# limit_disk BYTES|max
limit_disk() {
	local device
	device=$(findmnt -n -o MAJ:MIN -T "$work" | tr -d ' ')
	# Of a partition, the disk.
	[ ! -e "/sys/dev/block/$device/partition" ] || device=$(<"/sys/dev/block/$device/../dev")
	case $cgroup in
	*/blkio/*) echo "$device ${1/max/0}" >"$cgroup/blkio.throttle.write_bps_device" ;;
	*) echo "$device wbps=$1" >"$cgroup/io.max" ;;
	esac 2>/dev/null
}

# save_rate CONTENDER SECONDS [OPTION...]: saves a second by all clients, each with streams of its own.
save_rate() {
	runs=$((runs + 1))
	{
		printf '\\set i random(0, %d) * %d + :client_id\n' $((streams / clients - 1)) $clients
		printf '\\set sequence_number :sequence_number + 1\n'
		sed -E '/^\\set (sequence_number|i|saved) /d' "$work/$1.save"
	} >"$work/$1.limited"
	pgbench -n -M prepared -c $clients -T "$2" -D "sequence_number=$((runs * 1000000))" \
		-f "$work/$1.limited" "${@:3}" "$1" >"$work/$1.log" 2>&1 || die "$1: $(cat "$work/$1.log")"
	sed -n 's/^tps = \([0-9.]*\).*/\1/p' "$work/$1.log"
}

# fill_contenders SIZE: each with its streams, overwritten once.
fill_contenders() {
	local contender
	for contender in "${contenders[@]}"; do
		show_progress "$(state_name "$1" json): $contender begins"
		make_streams "$contender" "$1"
		save_streams "$contender" $streams 1 2
	done
}

# record_rate SETTING CONTENDER RATE
record_rate() {
	[ "$2" != hand ] || hand_rate=$3
	record limits save "$1" "$2" saves/s "$3"
	record limits save "$1" "$2" "ratio to hand" "$(ratio "$3" "$hand_rate")"
}

# ---- the disk ---------------------------------------------------------------------------

measure_disk_limit() {
	local size setting contender rate
	if ! limit_disk $disk; then
		echo "limits: the disk is left out, since there is no cgroup to limit it" >&2
		return
	fi
	limit_disk max
	# Files of WAL to be written again, as there are on a server that has run for a while. A new one is filled
	# with zeros first.
	configure min_wal_size 1GB full_page_writes off autovacuum off
	for _ in {1..40}; do
		echo "SELECT pg_logical_emit_message(false, '', ''), pg_switch_wal();"
	done | psql -Xq >/dev/null
	for size in "${sizes[@]}"; do
		fill_contenders "$size"
		setting="$(state_name "$size" json), disk of $((disk / 1000000)) MB/s, $clients clients"
		for contender in "${contenders[@]}"; do
			psql -Xqc CHECKPOINT
			sync -f "$work"
			show_progress "$setting, $contender"
			limit_disk $disk
			rate=$(save_rate "$contender" "$seconds")
			limit_disk max
			record_rate "$setting" "$contender" "$rate"
		done
		drop_contenders
	done
	reset_configuration
	trap - EXIT
}

drop_contenders() {
	local contender
	for contender in "${contenders[@]}"; do
		psql -Xqc "DROP DATABASE $contender"
	done
}

# ---- the link ---------------------------------------------------------------------------

# linked COMMAND [ARGUMENT...]: runs what bash is told, as this user, in a network of its own whose loopback is
# such a link.
linked() {
	# shellcheck disable=SC2016
	unshare --map-root-user --net bash -c 'ip link set lo mtu 1500 up &&
		tc qdisc add dev lo root tbf rate "$1" burst 16kb latency 200ms &&
		exec unshare --map-user="$2" --map-group="$3" bash -c "${@:4}"' \
		bash "$link" "$(id -u)" "$(id -g)" "$@"
}

# on_standby SQL
on_standby() {
	psql -XAtq -p $((PGPORT + 1)) -c "$1"
}

# start_pair: the server, and a standby made of it, in such a network.
start_pair() {
	pg_basebackup -D "$work/standby" -R -c fast
	kill -INT "$server" # a shutdown that leaves nothing to recover
	wait "$server"
	# shellcheck disable=SC2016
	linked 'setpriv --pdeathsig QUIT postgres -D "$1/data" -c listen_addresses=127.0.0.1 &
		setpriv --pdeathsig QUIT postgres -D "$1/standby" -p $(($2 + 1)) -c listen_addresses= \
			-c "primary_conninfo=host=127.0.0.1 port=$2 user=postgres" &
		wait' bash "$work" "$PGPORT" >>"$work/server.log" 2>&1 &
	pair=$!
	until [ "$(psql -XAtqc "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'" 2>/dev/null)" = 1 ]; do
		kill -0 "$pair" || die "$(tail "$work/server.log")"
		sleep 0.1
	done
}

stop_pair() {
	pg_ctl -s -m immediate -D "$work/standby" stop
	pg_ctl -s -m immediate -D "$work/data" stop
	wait "$pair" || true
	rm -rf "$work/standby"
}

# wait_for_standby: until it shows all that was saved.
wait_for_standby() {
	local lsn
	lsn=$(psql -XAtqc 'SELECT pg_current_wal_insert_lsn()')
	until [ "$(on_standby "SELECT pg_last_wal_replay_lsn() >= '$lsn'")" = t ]; do
		sleep 0.05
	done
}

# synchronous '*'|'': the standby that a commit waits for.
synchronous() {
	psql -Xq -c "ALTER SYSTEM SET synchronous_standby_names = '$1'" -c 'SELECT pg_reload_conf()' >/dev/null
	until [ "$(psql -XAtqc "SELECT sync_state = 'async' FROM pg_stat_replication")" = "$([ -n "$1" ] && echo f || echo t)" ]; do
		sleep 0.1
	done
}

measure_link_limit() {
	local work=$work/link size setting contender rate server pair start
	if ! linked true 2>/dev/null; then
		echo "limits: the link is left out, since unshare or tc (iproute2) is missing or must not" >&2
		return
	fi
	mkdir "$work"
	ln -s ../states "$work/states"
	start_server
	printf '%s\n' 'fsync = off' 'full_page_writes = off' 'autovacuum = off' 'shared_buffers = 512MB' \
		'max_wal_size = 20GB' 'checkpoint_timeout = 1d' 'max_connections = 50' >>"$work/data/postgresql.conf"
	printf '%s replication postgres %s trust\n' local '' host 127.0.0.1/32 >>"$work/data/pg_hba.conf"
	stop_server
	for size in "${sizes[@]}"; do
		start_server
		fill_contenders "$size"
		start_pair
		setting="$(state_name "$size" json), link of ${link/mbit/ Mbit/s}"
		for contender in "${contenders[@]}"; do
			show_progress "$setting, $contender: a standby that commits wait for"
			synchronous '*'
			rate=$(save_rate "$contender" "$seconds")
			record_rate "$setting, $clients clients" "$contender" "$rate"
			synchronous ''
			wait_for_standby
			# What is half as much again as the link carries of hand's.
			show_progress "$setting, $contender: a standby that lags"
			rate=$(awk "BEGIN { print int($hand_rate * 1.5) }")
			save_rate "$contender" $((2 * seconds)) --rate "$rate" >/dev/null
			start=${EPOCHREALTIME/./}
			wait_for_standby
			record limits lag "$setting, $rate saves/s for $((2 * seconds)) s" "$contender" s \
				"$(ratio $((${EPOCHREALTIME/./} - start)) 1000000)"
		done
		stop_pair
		start_server
		drop_contenders
		stop_server
	done
	rm -rf "$work"
}

# -----------------------------------------------------------------------------------------

measure_limits() {
	local sizes=(0.8 2.4 4.5) contenders=(hand ours ours_dictionary) seconds=10 runs=1 hand_rate
	if [ -n "$short" ]; then
		sizes=(2.4)
		seconds=2
	fi
	measure_disk_limit
	measure_link_limit
}
