# shellcheck shell=bash
#
# Bytes of WAL of a save: that of the statement, of pruning and of the commit, without full-page
# images, which depend on how far apart the checkpoints are.

# shellcheck source=bench/churn.sh
. bench/churn.sh

# wal_of CONTENDER STREAMS FROM TO: bytes of WAL of a save in these rounds.
wal_of() {
	local before
	before=$(psql -XAtc 'SELECT pg_current_wal_insert_lsn()')
	save_streams "$@"
	psql -XAtc "SELECT round((pg_current_wal_insert_lsn() - '$before') / ($2 * ($4 - $3 + 1)), 1)"
}

# record_wal OPERATION SETTING CONTENDER BYTES BYTES-OF-HAND
record_wal() {
	record wal "$1" "$2" "$3" bytes "$4"
	record wal "$1" "$2" "$3" "ratio to hand" "$(ratio "$4" "$5")"
}

measure_wal() {
	local size streams contender setting insert overwrite hand_insert hand_overwrite
	local sizes=(0.5 0.8 2 2.4 4 4.5 16 64) names=(hand)
	for contender in $(contenders); do
		# One that differs only in its loads saves like another.
		[ "$contender" = hand ] ||
			! grep -qE '^-- (table|session|training|save)' "bench/contenders/$contender.sql" || names+=("$contender")
	done
	if [ -n "$short" ]; then
		sizes=(0.5 2 4)
		names=(hand ours ours_dictionary usual)
	fi
	configure full_page_writes off autovacuum off fsync off

	for size in "${sizes[@]}"; do
		setting=$(state_name "$size" json)
		streams=200
		[ "${size%.*}" -lt 16 ] || streams=50
		for contender in "${names[@]}"; do
			show_progress "$setting, $contender"
			make_streams "$contender" "$size"
			insert=$(wal_of "$contender" "$streams" 1 1)
			# Until no page has the room of the beginning, and each stream what is kept of it.
			save_streams "$contender" "$streams" 2 8
			overwrite=$(wal_of "$contender" "$streams" 9 18)
			if [ "$contender" = hand ]; then
				hand_insert=$insert hand_overwrite=$overwrite
			fi
			record_wal "save insert" "$setting" "$contender" "$insert" "$hand_insert"
			record_wal save "$setting" "$contender" "$overwrite" "$hand_overwrite"
			psql -Xqc "DROP DATABASE $contender"
		done
	done
}
