# shellcheck shell=bash
#
# Bytes on disk after many overwrites. After each round of them, what autovacuum would vacuum by its default
# thresholds is vacuumed: an application that overwrites each stream once in a naptime. By autovacuum itself, the
# figures would be those of how busy the machine is.

# shellcheck source=bench/churn.sh
. bench/churn.sh

# vacuum CONTENDER: as autovacuum would, TOAST by itself. What a session has done is counted when it has ended.
vacuum() {
	until [ "$(psql -XAtc "SELECT count(*) FROM pg_stat_activity WHERE datname = '$1'")" = 0 ]; do sleep 0.01; done
	psql -Xq -v ON_ERROR_STOP=1 -d "$1" <<-'END'
		SELECT format('VACUUM (PROCESS_TOAST false) %s', c.oid::regclass) FROM pg_stat_all_tables AS s JOIN pg_class AS c ON c.oid = s.relid
		WHERE c.relnamespace IN ('public'::regnamespace, 'pg_toast'::regnamespace) AND c.oid >= 16384
			AND (n_dead_tup > 50 + 0.2 * greatest(reltuples, 0) OR n_ins_since_vacuum > 1000 + 0.2 * greatest(reltuples, 0))
		\gexec
	END
}

# measure_churn SIZE STREAMS ROUNDS CONTENDER...: that many overwrites of each stream, by one contender after
# another, since a transaction of one keeps all others from removing what is dead.
measure_churn() {
	local size=$1 streams=$2 rounds=$3 contender round setting
	setting="$(state_name "$size" json), $streams streams, $rounds overwrites of each"
	shift 3
	for contender; do
		show_progress "$setting: $contender"
		make_streams "$contender" "$size"
		for ((round = 1; round <= rounds + 1; round++)); do
			save_streams "$contender" "$streams" "$round" "$round"
			vacuum "$contender"
		done
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
	local all=(hand ours ours_state ours_dictionary usual pekko_r2dbc pekko_jdbc axon eventstore sequent) size
	configure autovacuum off fsync off
	if [ -n "$short" ]; then
		measure_churn 2 200 5 hand ours ours_dictionary usual
		return
	fi
	for size in 0.5 0.8 2 2.4 4.5; do
		measure_churn "$size" 1000 50 "${all[@]}"
	done
	measure_churn 16 400 50 "${all[@]}"
	measure_churn 2 10000 50 hand ours usual
}
