# shellcheck shell=bash
#
# How long a client waits for a snapshot and the events after it: by the one statement of
# doc/integrating.md, and by two, the events after the snapshot having come. With prepared statements, and
# with statements that are parsed and planned in each call. Streams of 200 events of some 120 bytes, states
# of 0.5 KB; the statements take turns, in pairs.
#
# And how long the statement of the same page takes which looks for the streams that are due.
#
# shellcheck disable=SC2034,SC2154 # $one and $two are read by name; $work and $short are scripts/bench's

one="WITH snapshot AS MATERIALIZED (
    SELECT sequence_number, state_schema_version, state FROM snapshot_load(:stream_id, '{1}')
)
SELECT sequence_number, state_schema_version, state AS data FROM snapshot
UNION ALL
SELECT sequence_number, NULL, data FROM account_event
WHERE stream_id = :stream_id
  AND sequence_number > coalesce((SELECT sequence_number FROM snapshot), 0)
  AND sequence_number <= 9223372036854775807
ORDER BY sequence_number;"
two="SELECT sequence_number, state_schema_version, state FROM snapshot_load(:stream_id, '{1}') \\gset
SELECT sequence_number, data FROM account_event
WHERE stream_id = :stream_id AND sequence_number > :sequence_number
ORDER BY sequence_number;"
search="BEGIN;
SELECT e.stream_id
FROM account_event AS e
WHERE e.sequence_number = 100 AND e.stream_id ^@ 'account-' AND e.stream_id > ''
  AND snapshot_due(e.stream_id, '{1}', (SELECT max(sequence_number) FROM account_event
                                        WHERE stream_id = e.stream_id), 100)
ORDER BY e.stream_id
LIMIT :limit
FOR NO KEY UPDATE OF e SKIP LOCKED;
ROLLBACK;"

# make_events: the database "ours", with the table of the events, and what else is on standard input.
make_events() {
	make_database ours
	{
		echo 'CREATE TABLE account_event (stream_id text COLLATE "C", sequence_number bigint, data json NOT NULL,
			PRIMARY KEY (stream_id, sequence_number));'
		cat
		echo 'VACUUM ANALYZE;'
	} | psql -Xq -v ON_ERROR_STOP=1 -d ours >/dev/null
}

# latency MODE SCRIPT PGBENCH-OPTION...: of a call, in microseconds.
latency() {
	pgbench -n -M "$1" -c 1 -f - "${@:3}" ours <<<"$2" 2>&1 | awk '/^latency average/ { print $4 * 1000 }'
}

# measure_ways TAIL: with so many events after the snapshots.
measure_ways() {
	local streams=10000 rounds=9 duration=(-T 1) mode round way setting
	if [ -n "$short" ]; then
		streams=100 rounds=1 duration=(-t 50)
	fi
	make_events <<-END
		INSERT INTO account_event
		SELECT (1000000000 + s)::text, n, json_build_object('amount', n, 'text', repeat(md5(n::text), 3))
		FROM generate_series(1, 200) AS n, generate_series(1, $streams) AS s;
		SELECT snapshot_save((1000000000 + s)::text, 200 - $1, 1,
			json_build_object('balance', s, 'text', repeat(md5(s::text), 15)))
		FROM generate_series(1, $streams) AS s;
	END
	for mode in prepared extended; do
		setting="$1 events after the snapshot, $mode"
		rm -f "$work/one" "$work/two"
		for ((round = 0; round < rounds; round++)); do
			show_progress "$setting: round $((round + 1)) of $rounds"
			for way in one two; do
				latency $mode "\\set stream_id random(1000000001, 1000000000 + $streams)
					${!way}" "${duration[@]}" >>"$work/$way"
			done
		done
		for way in one two; do
			record rehydrate rehydrate "$setting" "$way" µs "$(median <"$work/$way")"
			record rehydrate rehydrate "$setting" "$way" 'ratio to two' \
				"$(paste "$work/$way" "$work/two" | awk '{ print $1 / $2 }' | median)"
		done
	done
}

# measure_search: of all streams, a tenth have more than 100 events, of which every hundredth is due.
measure_search() {
	local streams=1000000 due limit
	[ -z "$short" ] || streams=10000
	due=$((streams / 1000))
	show_progress "$streams streams"
	make_events <<-END
		INSERT INTO account_event
		SELECT 'account-' || s, n, '{"amount": 1}'
		FROM generate_series(1, $streams) AS s, generate_series(1, CASE WHEN s % 10 = 0 THEN 110 ELSE 3 END) AS n;
		CREATE INDEX account_event_100 ON account_event (stream_id) WHERE sequence_number = 100;
		SELECT snapshot_save('account-' || s, CASE WHEN s % 10 = 0 THEN 100 ELSE 2 END, 1, '{"balance": 1}')
		FROM generate_series(1, $streams) AS s WHERE s % 1000 <> 0;
	END
	for limit in $((due / 10)) $due; do
		record rehydrate 'search for what is due' \
			"$streams streams, $((streams / 10)) of them long, $limit of $due due" one µs \
			"$(for _ in 1 2 3; do latency simple "$search" -t 1 -D "limit=$limit"; done | median)"
	done
}

measure_rehydrate() {
	local tail
	for tail in 20 100; do
		measure_ways $tail
	done
	measure_search
	psql -Xqc 'DROP DATABASE ours'
}
