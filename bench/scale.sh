# shellcheck shell=bash
#
# What bench/capacity.pl computes from. Of more and more streams, with and without a dictionary: the time that a
# load, a save, and a save in a batch take on a processor, of the session's process and of all of the server's;
# WAL, with full-page images and without; bytes on disk; a session's memory. Then the same streams on one to four
# servers.
#
# Streams are saved in a random order of their names, and loaded and overwritten at random by bench/calls.pl. The
# session's times are medians of rounds, with commits that are not flushed. Those of the whole server are of four
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

# fill CONTENDER: its database, with $streams, each saved once. Without WAL where that is minimal, since it is a new
# file in the same transaction.
fill() {
	show_progress "$setting: filling $1"
	make_database "$1" "$size"
	psql -Xq -v ON_ERROR_STOP=1 -d "$1" <<-SQL
		CREATE EXTENSION pgstattuple;
		CREATE EXTENSION pg_prewarm;
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

# call OPERATION STREAMS CALLS SESSIONS SERVER...: by bench/calls.pl; what that prints is in $own, $all, $wal,
# $images and $memory.
call() {
	local figures
	figures=$(perl bench/calls.pl "$1" "$2" "$3" "$work/states/changing.$size" "${@:4}")
	read -r own all wal images memory <<<"$figures"
}

# each A B: A for each of B.
each() {
	awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", a / b }'
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
			first=$own
			call "$operation" "$streams" "$calls" 1 "dbname=$1"
			printf '%s\t%s\t%s\t%s\t%s\n' "$round" "$operation" "$first" "$own" "$memory" >&3
		done
	done 3>"$log"
	for operation in "${operations[@]}"; do
		mapfile -t figures < <(medians "$log" "$operation")
		note "$1" "$operation" µs "${figures[0]}" "times ${counts[0]}" "${figures[1]}" 'memory KB' "${figures[2]}"
	done
}

# measure_one CONTENDER: $streams with states of $size, on one server.
measure_one() {
	local setting operation count own all wal images memory operations=(load save 'save many 100')
	setting="$(state_name "$size" json), $streams streams"
	restart 'wal_level = minimal' 'max_wal_senders = 0'
	fill "$1"
	# What a server has to have from which streams are to move to others.
	restart 'wal_level = logical' 'max_wal_senders = 10'
	note_size "$1" fill
	show_progress "$setting: vacuum, $1"
	call vacuum "$streams" "$streams" 1 "dbname=$1"
	note "$1" vacuum 'server µs' "$all" 'WAL bytes' "$wal"

	value "SELECT pg_prewarm('snapshot_store') + pg_prewarm('snapshot_store_pkey')" "$1" >/dev/null
	PGOPTIONS=$asynchronous note_cpu "$1"
	for operation in "${operations[@]}"; do
		show_progress "$setting: $operation, $1"
		count=$runs
		[ "$operation" != 'save many 100' ] || count=$((10 * runs))
		call "$operation" "$streams" "$count" 4 "dbname=$1"
		note "$1" "$operation" 'server µs' "$all" calls "$count" images "$images" 'WAL bytes with images' "$wal"
	done
	note_size "$1" churn
	configure wal_compression lz4
	PGOPTIONS=$asynchronous call save "$streams" "$runs" 4 "dbname=$1"
	note "$1" 'save, wal_compression' images "$images" 'WAL bytes with images' "$wal"
	configure full_page_writes off
	for operation in save 'save many 100'; do
		PGOPTIONS=$asynchronous call "$operation" "$streams" "$runs" 4 "dbname=$1"
		note "$1" "$operation" 'WAL bytes' "$wal"
	done
	reset_configuration
	trap - EXIT
}

# measure_servers STREAMS: the same streams on one to four servers, as doc/sharding.md has it, and what it costs to
# copy them to the last one.
measure_servers() {
	local streams=$1 setting n k round operation own all wal images memory copied figures first
	local log=$work/rounds.tsv operations=(load save) servers=() on=() top=$work
	local work
	setting="$(state_name "$size" json), $streams streams"
	for n in 1 2 3 4; do
		work=$top/$n
		mkdir "$work"
		ln -s ../../states "$work"
		start_server
		restart 'wal_level = logical' "${configuration[@]}"
		servers+=("$server")
	done
	work=$top/1
	PGHOST=$work fill ours
	for n in 1 2 3 4; do
		for ((k = 1; k <= n; k++)); do
			show_progress "$setting: to server $k of $n"
			PGHOST=$top/$k psql -Xq -v ON_ERROR_STOP=1 -c "CREATE DATABASE of_$n" -c "\\connect of_$n" \
				-c 'CREATE EXTENSION snapshot_store'
			copied=$(PGHOST=$top/1 psql -Xq -d ours -c "COPY (SELECT * FROM snapshot_store
				WHERE ('x' || left(md5(stream_id), 2))::bit(8)::int * $n / 256 = $k - 1) TO STDOUT" |
				PGHOST=$top/$k psql -XqAt -v ON_ERROR_STOP=1 -d "of_$n" -c 'COPY snapshot_store FROM STDIN' \
					-c "SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::float8 / 1e3 / count(*)
						FROM snapshot_store")
			on[n]+="dbname=of_$n;host=$top/$k "
		done
	done
	# That is of the fourth of four.
	note ours copy µs "$copied"

	for ((round = 0; round < rounds; round++)); do
		for operation in "${operations[@]}"; do
			for n in 1 2 3 4; do
				show_progress "$setting: round $((round + 1)) of $rounds, $operation, $n servers"
				# shellcheck disable=SC2086 # several
				PGOPTIONS=$asynchronous call "$operation" "$streams" $((n * runs / 2)) 4 ${on[n]}
				[ "$n" != 1 ] || first=$own
				printf '%s\t%s\t%s\t%s\t%s\n' "$round" "$operation, $n" "$first" "$own" "$all" >&3
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
	for server in "${servers[@]}"; do
		stop_server
	done
	rm -rf "$top"/[1-4]
}

measure_scale() {
	local work=$work/scale size=0.8 streams contender counts=(10000 100000 1000000 10000000) rounds=5 calls=5000 runs=20000
	local configuration=('shared_buffers = 2GB' 'max_wal_size = 8GB' 'checkpoint_timeout = 1d')
	local asynchronous='-c synchronous_commit=off -c snapshot_store.durable=off' sizes=(2.4 4.5)
	if [ -n "$short" ]; then
		counts=(1000 4000) sizes=() rounds=1 calls=1000 runs=2000
	fi
	mkdir "$work"
	ln -s ../states "$work"
	measure_servers "${counts[1]}"

	start_server
	restart "${configuration[@]}"
	for streams in "${counts[@]}"; do
		for contender in ours ours_dictionary; do
			measure_one "$contender"
			if [ "$streams" = "${counts[0]}" ]; then
				value "ALTER DATABASE $contender RENAME TO ${contender}_first"
			else
				value "DROP DATABASE $contender"
			fi
		done
	done
	streams=${counts[1]}
	for size in "${sizes[@]}"; do
		for contender in ours ours_dictionary; do
			measure_one "$contender"
			value "DROP DATABASE $contender"
		done
	done
	stop_server
	rm -rf "$work"
}
