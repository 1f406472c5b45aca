# shellcheck shell=bash
#
# What TOAST takes on disk, in the end, where large states are overwritten often, by the settings of
# autovacuum: 50 streams with states of 60 KB that do not compress, so 3 MB that live, and 300 saves a
# second. And what the saves feel of it.
#
# shellcheck disable=SC2154 # $work and $short are those of scripts/bench

# shellcheck source=bench/churn.sh
. bench/churn.sh

# measure_form SECONDS NAPTIME [OPTION=VALUE...]: with that autovacuum_naptime, and no storage options of
# the TOAST table but these.
measure_form() {
	local seconds=$1 naptime=$2 streams=50 rate=300 start setting option
	shift 2
	setting="naptime $naptime${*:+, $*}"
	show_progress "$setting"
	make_streams ours 60
	{
		echo 'ALTER TABLE snapshot_store RESET (toast.autovacuum_vacuum_cost_delay);'
		for option; do
			echo "ALTER TABLE snapshot_store SET (toast.$option);"
		done
	} | psql -Xq -v ON_ERROR_STOP=1 -d ours
	configure fsync off autovacuum_naptime "$naptime"
	save_streams ours $streams 1 1
	psql -Xqc CHECKPOINT
	start=$SECONDS
	save_streams ours $streams 2 $((seconds * rate / streams + 1)) --rate $rate --log --log-prefix="$work/saves"
	setting="60 KB, $streams streams, $rate saves/s for $((SECONDS - start)) s, $setting"
	record vacuum save "$setting" ours "bytes toast" "$(psql -XAt -d ours -c "SELECT pg_total_relation_size(reltoastrelid)
		FROM pg_class WHERE oid = 'snapshot_store'::regclass")"
	# Of a save, without the wait for its turn.
	record vacuum save "$setting" ours "99 % ms" "$(awk '{ print ($3 - $7) / 1000 }' "$work"/saves.* | sort -g |
		awk '{ a[NR] = $1 } END { print a[int(NR * 0.99)] }')"
	rm "$work"/saves.*
	psql -Xqc "DROP DATABASE ours"
}

measure_vacuum() {
	local seconds=130
	[ -z "$short" ] || seconds=2
	for _ in {1..100}; do
		echo "\"$(head -c 45000 /dev/urandom | base64 -w 0)\""
	done >"$work/states/changing.60"
	measure_form $seconds 1min
	measure_form $seconds 1min autovacuum_vacuum_cost_delay=0
	[ -z "$short" ] || return 0
	measure_form $seconds 1min autovacuum_vacuum_scale_factor=0.05
	measure_form $seconds 1min autovacuum_vacuum_cost_delay=0 autovacuum_vacuum_scale_factor=0.05
	measure_form $seconds 1min autovacuum_vacuum_cost_limit=2000
	measure_form $seconds 5s
	measure_form $seconds 5s autovacuum_vacuum_cost_delay=0
	# Does it end somewhere?
	measure_form $((3 * seconds)) 1min
	measure_form $((3 * seconds)) 1min autovacuum_vacuum_cost_delay=0
}
