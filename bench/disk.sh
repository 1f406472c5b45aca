# shellcheck shell=bash
#
# Bytes on disk after many overwrites, at a pace that autovacuum can keep up with: a busy application
# whose time runs faster, with the shortest naptime there is, in which a stream is overwritten once
# or twice, and no pauses within a vacuum. All contenders are overwritten at the same time, since
# this is no timing.

# shellcheck source=bench/churn.sh
. bench/churn.sh

# measure_churn SIZE STREAMS ROUNDS SECONDS CONTENDER...: that many overwrites of each stream, in that
# time unless the machine is slower.
measure_churn() {
	local size=$1 streams=$2 rounds=$3 rate=$(($2 * $3 / $4)) start contender pids=() pid setting
	setting="$(state_name "$size" json), $streams streams, $rounds overwrites of each"
	shift 4
	for contender; do
		show_progress "$setting: $contender begins"
		make_streams "$contender" "$size"
		save_streams "$contender" "$streams" 1 1
	done
	show_progress "$setting"
	start=$SECONDS
	for contender; do
		save_streams "$contender" "$streams" 2 $((rounds + 1)) --rate "$rate" &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		wait "$pid"
	done
	setting+=" in $((SECONDS - start)) s, naptime 1 s"
	for contender; do
		record_disk "$setting" "$contender"
		psql -Xqc "DROP DATABASE $contender"
	done
}

# record_disk SETTING CONTENDER
record_disk() {
	local heap toast index live hot
	read -r heap toast index < <(psql -XAt -F ' ' -d "$2" <<-'END'
		SELECT sum(pg_table_size(oid) - coalesce(pg_total_relation_size(nullif(reltoastrelid, 0)), 0)),
			sum(coalesce(pg_total_relation_size(nullif(reltoastrelid, 0)), 0)), sum(pg_indexes_size(oid))
		FROM pg_class WHERE oid IN (SELECT relid FROM pg_stat_user_tables WHERE relname <> 'states')
	END
	)
	live=$(psql -XAt -d "$2" <<-'END' | awk '{ live += $1 } END { print live }'
		SELECT format('SELECT sum(%s) FROM %s', string_agg(format('coalesce(pg_column_size(%I), 0)', attname), '+'),
			attrelid::regclass)
		FROM pg_attribute
		WHERE attrelid IN (SELECT relid FROM pg_stat_user_tables WHERE relname <> 'states')
			AND attnum > 0 AND NOT attisdropped
		GROUP BY attrelid \gexec
	END
	)
	hot=$(psql -XAt -d "$2" -c "SELECT round(sum(n_tup_hot_upd) / nullif(sum(n_tup_upd), 0), 3)
		FROM pg_stat_user_tables WHERE relname <> 'states'")
	record disk save "$1" "$2" "bytes heap" "$heap"
	record disk save "$1" "$2" "bytes toast" "$toast"
	record disk save "$1" "$2" "bytes index" "$index"
	record disk save "$1" "$2" bytes $((heap + toast + index))
	record disk save "$1" "$2" "live bytes" "$live"
	record disk save "$1" "$2" "times live" "$(ratio $((heap + toast + index)) "$live")"
	[ -z "$hot" ] || record disk save "$1" "$2" "HOT share" "$hot" # some never update
}

measure_disk() {
	local all=(hand ours ours_state ours_dictionary usual pekko_r2dbc pekko_jdbc axon eventstore sequent)
	configure autovacuum_naptime 1s autovacuum_vacuum_cost_delay 0 fsync off
	if [ -n "$short" ]; then
		measure_churn 2 200 20 10 hand ours ours_dictionary usual
		return
	fi
	measure_churn 2 10000 100 180 hand ours usual
	measure_churn 0.5 1000 100 60 "${all[@]}"
	measure_churn 0.8 1000 100 60 "${all[@]}"
	measure_churn 2 1000 100 60 "${all[@]}"
	measure_churn 2.4 1000 100 60 "${all[@]}"
	measure_churn 4.5 1000 100 75 "${all[@]}"
	measure_churn 16 400 100 60 "${all[@]}"
}
