# shellcheck shell=bash
#
# What bench/capacity.pl computes from. Of more and more streams, with and without a dictionary: the time that a
# load, a save, and a save in a batch take on a processor, of the session's process and of all of the server's;
# WAL, with full-page images and without; bytes on disk; a session's memory. Then the same streams on one to four
# servers.
#
# Streams are saved in a random order of their names, and loaded and overwritten at random by bench/calls.pl. The
# session's times are medians of rounds, with commits that are not flushed. Those of the whole server are of twelve
# sessions that take turns, with a flush for each commit, and with a checkpoint before and after, so that what the
# server's other processes do is in them. (Those of one to four servers are medians, too, without flushes.)
#
# shellcheck disable=SC2154 # $work, $short and $server are those of scripts/bench

# shellcheck source=bench/churn.sh
. bench/churn.sh

# restart LINE...: with these in its configuration.
restart() {
	printf '%s\n' "$@" >>"$work/data/postgresql.conf"
	kill -INT "$server"
	wait "$server"
	start_server
}

# value SQL [DATABASE]
value() {
	psql -XqAtc "$1" "${2:-postgres}"
}

# fill CONTENDER: its database, with $streams, in which a stream is saved once. Without WAL where that is minimal,
# since it is a new file in the same transaction.
fill() {
	show_progress "$setting: filling $1"
	make_database "$1" "$size"
	psql -Xq -v ON_ERROR_STOP=1 -d "$1" <<-SQL
		CREATE EXTENSION pgstattuple;
		CREATE TABLE states (n serial PRIMARY KEY, state text);
		$(copy_states states changing "$size")
		ANALYZE states;
		BEGIN;
		TRUNCATE snapshot_store;
		DO \$\$
		BEGIN
			FOR n0 IN 1..$streams BY 1000 LOOP
				PERFORM count(*) FROM (
					SELECT array_agg('order-' || md5(i::text)) AS streams, array_agg(1::bigint) AS ones,
						array_agg(state::json) AS states
					FROM generate_series(n0, least(n0 + 999, $streams)) AS i JOIN states ON n = 1 + i % 100
				) AS a, snapshot_save_many(a.streams, a.ones, a.ones, a.states);
			END LOOP;
		END
		\$\$;
		COMMIT;
	SQL
}

# call OPERATION STREAMS CALLS SESSIONS SERVER...: by bench/calls.pl, into $backend and $memory.
call() {
	local figures
	figures=$(perl bench/calls.pl "$1" "$2" "$3" "$work/states/changing.$size" "${@:4}")
	read -r backend memory <<<"$figures"
}

# server_cpu PID...: microseconds that all processes of these servers, and those that have ended, were on a
# processor.
server_cpu() {
	{ cat /proc/[0-9]*/stat 2>/dev/null || true; } | awk -v servers=" $* " -v hertz="$(getconf CLK_TCK)" '
		{ sub(/\(.*\)/, "-") }
		index(servers, " " $1 " ") { ticks += $14 + $15 + $16 + $17 }
		index(servers, " " $4 " ") { ticks += $14 + $15 }
		END { printf "%.0f", ticks / hertz * 1e6 }'
}

# each A B: A for each of B.
each() {
	awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", a / b }'
}

# watch COUNT COMMAND...: between two checkpoints. For each of so many, what that takes in all, in $cpu, $wal, and
# $images.
watch() {
	local before wal_before images_before counters="SELECT pg_current_wal_insert_lsn() - '0/0', wal_fpi FROM pg_stat_wal"
	value CHECKPOINT
	IFS='|' read -r wal_before images_before < <(value "$counters")
	before=$(server_cpu "$server")
	"${@:2}"
	# A session counts what it has done as it ends.
	until [ "$(value "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")" = 1 ]; do
		sleep 0.1
	done
	IFS='|' read -r wal images < <(value "$counters")
	wal=$(each $((wal - wal_before)) "$1") images=$(each $((images - images_before)) "$1")
	value CHECKPOINT
	cpu=$(each $(($(server_cpu "$server") - before)) "$1")
}

# note CONTENDER OPERATION FIGURE VALUE...: records these.
note() {
	local contender=$1 operation=$2
	shift 2
	while [ $# -gt 0 ]; do
		record scale "$operation" "$setting" "$contender" "$1" "$2"
		shift 2
	done
}

# note_size CONTENDER OPERATION: bytes for each stream.
note_size() {
	local heap toast index inner
	IFS='|' read -r heap toast index inner < <(value "
		SELECT pg_relation_size(oid), pg_total_relation_size(reltoastrelid), pg_indexes_size(oid),
			(SELECT internal_pages * 8192 FROM pgstatindex('snapshot_store_pkey'))
		FROM pg_class WHERE oid = 'snapshot_store'::regclass" "$1")
	note "$1" "$2" 'bytes heap' "$(each "$heap" "$streams")" 'bytes toast' "$(each "$toast" "$streams")" \
		'bytes index' "$(each "$index" "$streams")" 'bytes inner' "$(each "$inner" "$streams")"
}

# medians LOG KEY: of lines ROUND KEY REFERENCE VALUE OTHER, those of the value, of its ratios to the reference in
# the same round, and of the other value.
medians() {
	local n
	for n in 1 2 3; do
		awk -F'\t' -v key="$2" -v n="$n" '
			$2 == key {
				split($4 "\t" $4 / $3 "\t" $5, value)
				print value[n]
			}' "$1" | median
	done
}

# note_cpu CONTENDER: the sessions' time for a stream and their memory, and how many times that of the fewest
# streams, whose database is kept for that.
note_cpu() {
	local round operation first log=$work/rounds.tsv figures reference="dbname=${1}_first"
	# What they are compared to.
	[ "$size,$streams" != "0.8,${counts[0]}" ] || reference="dbname=$1"
	for ((round = 0; round < rounds; round++)); do
		for operation in "${operations[@]}"; do
			show_progress "$setting: round $((round + 1)) of $rounds, $operation, $1"
			size=0.8 call "$operation" "${counts[0]}" "$calls" 1 "$reference"
			first=$backend
			call "$operation" "$streams" "$calls" 1 "dbname=$1"
			printf '%s\t' "$round" "$operation" "$first" "$backend" >&3
			printf '%s\n' "$memory" >&3
		done
	done 3>"$log"
	for operation in "${operations[@]}"; do
		mapfile -t figures < <(medians "$log" "$operation")
		note "$1" "$operation" µs "${figures[0]}" "times ${counts[0]}" "${figures[1]}" 'memory KB' "${figures[2]}"
	done
}

# measure_one CONTENDER: $streams with states of $size, on one server.
measure_one() {
	local setting operation count cpu wal images backend memory operations=(load save 'save many 100')
	setting="$(state_name "$size" json), $streams streams"
	restart 'wal_level = minimal' 'max_wal_senders = 0'
	fill "$1"
	# What a server has to have from which streams are to move to others.
	restart 'wal_level = logical' 'max_wal_senders = 10'
	note_size "$1" fill
	show_progress "$setting: vacuum, $1"
	watch "$streams" value 'VACUUM (FREEZE, ANALYZE) snapshot_store' "$1"
	note "$1" vacuum 'server µs' "$cpu" 'WAL bytes' "$wal"

	PGOPTIONS=$asynchronous note_cpu "$1"
	for operation in "${operations[@]}"; do
		show_progress "$setting: $operation, $1"
		case $operation in
		load) count=$((3 * runs)) ;;
		save) count=$runs ;;
		# As many as make the pages of up to 100,000 streams what they are in the end.
		*) count=$((10 * (streams < 100000 ? streams : 100000))) ;;
		esac
		watch "$count" call "$operation" "$streams" "$count" 12 "dbname=$1"
		note "$1" "$operation" 'server µs' "$cpu" calls "$count" images "$images" 'WAL bytes with images' "$wal"
	done
	note_size "$1" churn
	export PGOPTIONS=$asynchronous
	configure wal_compression lz4
	watch "$runs" call save "$streams" "$runs" 12 "dbname=$1"
	note "$1" 'save, wal_compression' images "$images" 'WAL bytes with images' "$wal"
	configure full_page_writes off
	for operation in save 'save many 100'; do
		watch "$calls" call "$operation" "$streams" "$calls" 12 "dbname=$1"
		note "$1" "$operation" 'WAL bytes' "$wal"
	done
	unset PGOPTIONS
	reset_configuration
	trap - EXIT
}

# measure_servers STREAMS: the same streams on one to four servers, as doc/sharding.md has it, and what it costs to
# copy them to the last one.
measure_servers() {
	local streams=$1 setting n k round operation before cpu backend memory figures first
	local log=$work/rounds.tsv operations=(load save) pids=() on=() top=$work
	local work
	setting="$(state_name "$size" json), $streams streams"
	for n in 1 2 3 4; do
		work=$top/$n
		mkdir "$work"
		ln -s ../../states "$work"
		start_server
		restart 'wal_level = logical' "${configuration[@]}"
		pids+=("$server")
	done
	work=$top/1
	PGHOST=$work fill ours
	for n in 1 2 3 4; do
		for ((k = 1; k <= n; k++)); do
			show_progress "$setting: to server $k of $n"
			PGHOST=$top/$k psql -Xq -v ON_ERROR_STOP=1 -c "CREATE DATABASE of_$n" -c "\\connect of_$n" \
				-c 'CREATE EXTENSION snapshot_store'
			before=$(server_cpu "${pids[k - 1]}")
			PGHOST=$top/1 psql -Xq -d ours -c "COPY (SELECT * FROM snapshot_store
				WHERE ('x' || left(md5(stream_id), 2))::bit(8)::int * $n / 256 = $k - 1) TO STDOUT" |
				PGHOST=$top/$k psql -Xq -v ON_ERROR_STOP=1 -d "of_$n" -c 'COPY snapshot_store FROM STDIN' -c CHECKPOINT
			cpu=$(($(server_cpu "${pids[k - 1]}") - before))
			on[n]+="dbname=of_$n;host=$top/$k "
		done
	done
	# The fourth of four has what it was copied from another one.
	note ours copy 'server µs' "$(each "$cpu" "$(PGHOST=$top/4 value 'SELECT count(*) FROM snapshot_store' of_4)")"

	for ((round = 0; round < rounds; round++)); do
		for operation in "${operations[@]}"; do
			for n in 1 2 3 4; do
				show_progress "$setting: round $((round + 1)) of $rounds, $operation, $n servers"
				before=$(server_cpu "${pids[@]}")
				# shellcheck disable=SC2086 # several
				PGOPTIONS=$asynchronous call "$operation" "$streams" $((2 * calls)) $((12 / n)) ${on[n]}
				cpu=$(each $(($(server_cpu "${pids[@]}") - before)) $((2 * calls)))
				[ "$n" != 1 ] || first=$backend
				printf '%s\t' "$round" "$operation, $n" "$first" "$backend" >&3
				printf '%s\n' "$cpu" >&3
			done
		done
	done 3>"$log"
	for n in 1 2 3 4; do
		setting="$(state_name "$size" json), $streams streams, $n servers"
		for operation in "${operations[@]}"; do
			mapfile -t figures < <(medians "$log" "$operation, $n")
			note ours "$operation" µs "${figures[0]}" 'times 1' "${figures[1]}" 'server µs' "${figures[2]}"
		done
	done
	for server in "${pids[@]}"; do
		stop_server
	done
	rm -rf "$top"/[1-4]
}

measure_scale() {
	local work=$work/scale size=0.8 streams contender counts=(10000 100000 1000000 10000000) rounds=5 calls=5000 runs=30000
	local configuration=('shared_buffers = 2GB' 'max_wal_size = 8GB' 'checkpoint_timeout = 1d')
	local sizes=(0.8 2.4 4.5) asynchronous='-c synchronous_commit=off -c snapshot_store.durable=off'
	if [ -n "$short" ]; then
		counts=(1000 4000) sizes=(0.8) rounds=1 calls=1000 runs=2000
	fi
	mkdir "$work"
	ln -s ../states "$work"
	measure_servers "${counts[-2]}"

	start_server
	restart "${configuration[@]}"
	for streams in "${counts[@]}"; do
		for size in "${sizes[@]}"; do
			[ "$size" = 0.8 ] || [ "$streams" = "${counts[1]}" ] || continue
			for contender in ours ours_dictionary; do
				measure_one "$contender"
				if [ "$size,$streams" = "0.8,${counts[0]}" ]; then
					value "ALTER DATABASE $contender RENAME TO ${contender}_first"
				else
					value "DROP DATABASE $contender"
				fi
			done
		done
	done
	stop_server
	rm -rf "$work"
}
