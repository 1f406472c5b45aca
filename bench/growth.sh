# shellcheck shell=bash
#
# What a load costs as the streams become many: its instructions, counted by callgrind, and its
# rate. The streams are filled in by SQL in the order of their names, with states of some 100 bytes;
# the loads are of random ones.
#
# shellcheck disable=SC2154 # $work, $short and $server are those of scripts/bench

# fill CONTENDER STREAMS: puts so many streams into its table. Without WAL, since that is a new file
# in the same transaction.
fill() {
	local into="snapshot_store (slot," slot=0,
	if [ "$1" = hand ]; then
		into="snapshots (" slot=
	fi
	psql -Xq -v ON_ERROR_STOP=1 -d "$1" <<-END
		BEGIN;
		TRUNCATE ${into%% *};
		INSERT INTO $into stream_id, sequence_number, state_schema_version, created_at, state)
		SELECT $slot 'order-' || (1000000000 + n), n, 1, now(),
			('{"status": "paid", "total": ' || n % 1000 || ', "customer": "' || md5(n::text)
				|| '", "items": [1, 2]}')::json
		FROM generate_series(1, $2) AS n;
		COMMIT;
		VACUUM (FREEZE, ANALYZE);
	END
}

# load_rate CONTENDER STREAMS: loads a second by one client.
load_rate() {
	{
		printf '\\set i random(1000000001, 1000000000 + %d)\n' "$2"
		statements "$1" "load json" | sed "s/:stream_id\>/('order-' || :i)/; s/:recognized\>/'{1}'/"
	} >"$work/$1.load"
	pgbench -n -M prepared -c 1 -T "$seconds" -f "$work/$1.load" "$1" 2>&1 |
		sed -n 's/^tps = \([0-9.]*\).*/\1/p'
}

# load_instructions CONTENDER STREAMS: of a load, and of one beyond the floor.
load_instructions() {
	local none floor load
	{
		echo "PREPARE floor (text) AS SELECT \$1;"
		prepare_statements "$1" "load json"
		awk -v line="$(execute_line "$1" "load json")" -v mark="$mark" -v loads="$loads" -v streams="$2" '
			function calls(line, text) {
				for (n = 0; n < loads; n++) {
					text = line
					gsub(/:stream_id/, sprintf("'\''order-%d'\''", 1000000001 + int(rand() * streams)), text)
					gsub(/:recognized/, "'\''{1}'\''", text)
					print text
				}
			}
			BEGIN {
				srand(1)
				calls(line) # to warm up
				print mark
				print mark
				calls("EXECUTE floor (:stream_id);")
				print mark
				calls(line)
				print mark
			}'
	} | count_instructions "$1"
	none=$(counted 2) floor=$(counted 3) load=$(counted 4) # the first of these is the marks' own
	echo $(((load - none) / loads)) $(((load - floor) / loads))
}

measure_growth() {
	# A server of its own, which callgrind's backend takes turns with.
	local work=$work/growth streams contender setting cost pids pid
	local names=(hand ours) counts=(10000 100000 1000000 10000000)
	local -A first
	local loads=1000 seconds=5
	if [ -n "$short" ]; then
		counts=(1000 100000)
		loads=300
		seconds=1
	fi
	mkdir "$work"
	ln -s data "$work/single"
	start_server
	printf '%s\n' 'wal_level = minimal' 'max_wal_senders = 0' 'fsync = off' 'autovacuum = off' \
		'shared_buffers = 512MB' >>"$work/data/postgresql.conf"
	stop_server
	start_server
	for contender in "${names[@]}"; do
		make_database "$contender"
	done

	for streams in "${counts[@]}"; do
		setting="$streams streams"
		pids=()
		for contender in "${names[@]}"; do
			show_progress "$setting: filling $contender"
			fill "$contender" "$streams" &
			pids+=($!)
		done
		for pid in "${pids[@]}"; do
			wait "$pid"
		done
		for contender in "${names[@]}"; do
			show_progress "$setting: loads a second, $contender"
			record growth load "$setting" "$contender" calls/s "$(load_rate "$contender" "$streams")"
		done
		kill -INT "$server" # a shutdown that leaves nothing to recover
		wait "$server"
		for contender in "${names[@]}"; do
			show_progress "$setting: instructions, $contender"
			cost=$(load_instructions "$contender" "$streams")
			: "${first[$contender]:=$cost}"
			record growth load "$setting" "$contender" instructions "${cost% *}"
			record growth load "$setting" "$contender" "beyond the floor" "${cost#* }"
			record growth load "$setting" "$contender" "times ${counts[0]}" \
				"$(ratio "${cost% *}" "${first[$contender]% *}")"
			record growth load "$setting" "$contender" "times ${counts[0]} beyond the floor" \
				"$(ratio "${cost#* }" "${first[$contender]#* }")"
		done
		start_server
	done
	stop_server
	rm -rf "$work"
}
