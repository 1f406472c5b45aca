# shellcheck shell=bash
#
# How long it takes to train a dictionary on 1,000 states, and to pack what is stored with it: 100,000
# snapshots, in batches of 100. These states are always generated, since real ones are not as many.
#
# shellcheck disable=SC2154 # $work and $short are those of scripts/bench

# seconds SQL
seconds() {
	local start=${EPOCHREALTIME/./}
	psql -XAtq -v ON_ERROR_STOP=1 -d ours_state -c 'SET client_min_messages = warning' -c "$1" >/dev/null
	ratio $((${EPOCHREALTIME/./} - start)) 1000000
}

# record_bytes SETTING OPERATION
record_bytes() {
	record training "$2" "$1" ours_dictionary bytes "$(psql -XAtq -d ours_state \
		-c "SELECT pg_total_relation_size('snapshot_store')")"
}

measure_training() {
	local size setting snapshots=100000
	[ -z "$short" ] || snapshots=5000
	mkdir "$work/generated"
	perl bench/states.pl "$work/generated"
	for size in 0.8 2.4; do
		setting="$size KB json"
		show_progress "$setting"
		make_database ours_state
		psql -Xq -v ON_ERROR_STOP=1 -d ours_state >/dev/null <<-END
			ALTER DATABASE ours_state SET synchronous_commit = off;
			CREATE TABLE states (n serial PRIMARY KEY, state text);
			$(work=$work/generated copy_states states training "$size" | sed "s:/states/:/:")
			SELECT count(snapshot_save('order-' || n, 1, 1, state::json)) FROM states;
		END
		record training "train on 1000" "$setting" ours_dictionary s "$(seconds "SELECT snapshot_dictionary_train('order-')")"
		# So many, plain.
		psql -Xq -v ON_ERROR_STOP=1 -d ours_state >/dev/null <<-END
			TRUNCATE snapshot_store;
			INSERT INTO snapshot_store (slot, stream_id, sequence_number, state_schema_version, created_at, state)
			SELECT 0, 'order-' || i, 1, 1, now(), state::snapshot_state
			FROM generate_series(1, $snapshots) AS i JOIN states ON n = 1 + i % 800;
			VACUUM ANALYZE;
		END
		setting="$size KB json, $snapshots snapshots"
		record_bytes "$setting" "before"
		record training repack "$setting" ours_dictionary s "$(seconds "CALL snapshot_repack('order-')")"
		record_bytes "$setting" "repacked"
		seconds 'VACUUM FULL snapshot_store' >/dev/null
		record_bytes "$setting" "vacuumed in full"
		psql -Xqc 'DROP DATABASE ours_state'
	done
}
