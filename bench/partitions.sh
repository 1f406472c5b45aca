# shellcheck shell=bash
#
# What it costs to have 16 partitions on one server, with ours and with hand's statements: the instructions
# of a call, and the time that the server's process is on a processor for it, in which waiting does not
# count. Beside them ours_sql, which is how ours goes to any table that is not as it was made.
#
# shellcheck disable=SC2034,SC2154 # variables of scripts/bench, and of the parts whose functions are used

# shellcheck source=bench/rounds.sh
. bench/rounds.sh
# shellcheck source=bench/churn.sh
. bench/churn.sh
# shellcheck source=bench/instructions.sh
. bench/instructions.sh

# What is counted. The arrays of a batch are made in the statement, and counted with it.
partition_operations() {
	local many="ARRAY(SELECT 'batch-' || n FROM generate_series(1, 100) AS n)"
	operations_on 0.5 json load save
	[[ $contender = ours* ]] || return 0
	echo "PREPARE load_many (bigint) AS SELECT count(*), \$1 FROM snapshot_load_many($many, '{1}');"
	echo "PREPARE save_many (bigint) AS SELECT count(*) FROM snapshot_save_many($many, array_fill(\$1, '{100}')," \
		"array_fill(1::bigint, '{100}'), array_fill(current_setting('bench.state_0')::json, '{100}'));"
	operation "save many 100" 20 20 "EXECUTE save_many (:sequence_number);"
	operation "load many 100" 20 20 "EXECUTE load_many (:sequence_number);"
}

# cpu CONTENDER OPERATION: of a call, in microseconds, in $time: the backend itself reads it.
cpu() {
	local count=2000 warm=200 state
	[[ $2 != *' many '* ]] || count=100 warm=20
	[ -z "$short" ] || count=50 warm=10
	state=$(<"$(state_file "$size" json)")
	{
		printf '\\set call :call + 1\n\\if :call = %d or :call = %d\n%s\n\\endif\n' "$warm" $((warm + count)) \
			"INSERT INTO cpu SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::bigint;"
		script "$1" "$2"
	} >"$work/script.sql"
	runs=$((runs + 1))
	psql -Xqc 'DROP TABLE IF EXISTS cpu' -c 'CREATE TABLE cpu (ns bigint)' "$1" 2>/dev/null
	pgbench -n -M prepared -t $((warm + count)) -f "$work/script.sql" -D call=0 -D "state=$state" \
		-D state_schema_version=1 -D 'recognized={1}' -D "sequence_number=$((runs * 1000000))" "$1" \
		>"$work/pgbench.log" 2>&1 || die "$1, $2: $(cut -c -500 "$work/pgbench.log")"
	time=$(psql -XAtc "SELECT (max(ns) - min(ns)) / 1e3 / $count FROM cpu" "$1")
}

# The medians of the rounds, and of the ratios within a round to the same on one table.
measure_cpu() {
	local round i cell contender operation time log=$work/partitions.tsv cells=()
	for contender in "${contenders[@]}"; do
		fill "$contender"
		cells+=("$contender"/{load,save})
		[[ $contender = hand* ]] || cells+=("$contender"/{load,save}" many 100")
	done
	for ((round = 0; round < rounds; round++)); do
		for ((i = 0; i < ${#cells[@]}; i++)); do
			IFS=/ read -r contender operation <<<"${cells[(i + round) % ${#cells[@]}]}"
			show_progress "round $((round + 1)) of $rounds, $operation, $contender"
			cpu "$contender" "$operation"
			printf '%s\t%s\t%s\t%s\n' "$round" "$contender" "$operation" "$time" >>"$log"
		done
	done
	for cell in "${cells[@]}"; do
		IFS=/ read -r contender operation <<<"$cell"
		record partitions "$operation" "$(state_name "$size" json)" "$contender" µs "$(awk -F'\t' \
			-v c="$contender" -v o="$operation" '$2 == c && $3 == o { print $4 }' "$log" | median)"
		record partitions "$operation" "$(state_name "$size" json)" "$contender" 'ratio of µs' "$(awk -F'\t' \
			-v c="$contender" -v o="$operation" '
			$2 == c && $3 == o { time[$1] = $4 }
			$2 == substr(c, 1, 4) && $3 == o { one[$1] = $4 }
			END { for (round in time) print time[round] / one[round] }' "$log" | median)"
	done
}

measure_partitions() {
	local contender contenders=(ours ours_sql ours_partitions hand hand_partitions)
	[ -z "$short" ] || contenders=(ours ours_partitions)
	make_single
	for contender in "${contenders[@]}"; do
		show_progress "$contender"
		count_contender partition_operations
	done
	rm -rf "$work/single"
	configure fsync off
	measure_cpu
}
