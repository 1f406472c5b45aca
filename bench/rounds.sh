# shellcheck shell=bash
#
# What the parts that measure time share: saves and loads by pgbench, in interleaved rounds. Each
# part says in these what and how:
#
# shellcheck disable=SC2016,SC2154 # format()'s, and variables of scripts/bench
size=0.5 # KB, of JSON
clients=1
streams=10000
seconds=1 # of each measurement
rounds=7
if [ -n "$short" ]; then
	streams=1000
	rounds=1
fi

first=1000000000000000 # the names of the streams are the numbers from here on
runs=0

# Drivers get bytes as such. pgbench gets text, which shall not make them longer here.
export PGOPTIONS='-c bytea_output=escape'

# fill CONTENDER: makes its database, with a snapshot in each stream.
fill() {
	local name statements
	name="save $(state_type "$1" json)"
	statements=$(execute_line "$1" "$name" json |
		sed "s/:stream_id/%1\$L/g; s/:sequence_number/1/g; s/:state_schema_version/1/g; s/:state_name/'bench.state'/g")
	show_progress "$1: $streams snapshots of $(state_name "$size" json)"
	make_database "$1" "$size"
	psql -Xq -v ON_ERROR_STOP=1 -d "$1" >/dev/null <<-END
		BEGIN;
		$(set_state "$size" json)
		$(prepare_statements "$1" "$name")
		SELECT format(\$\$$statements\$\$, $first + n) FROM generate_series(0, $streams - 1) AS n \\gexec
		COMMIT;
		VACUUM ANALYZE;
	END
}

# script CONTENDER OPERATION: for pgbench. Only one client saves a stream, with rising numbers. An
# operation on many, such as "save many 10", is ours' function with arrays that the server makes, in its
# time, and hand's statement so many times in one pipeline, which is one transaction.
script() {
	local each=$((streams / clients)) count=${2##* } many text n
	many="ARRAY(SELECT ($first + (:i + n * 7919) % $each * $clients + :client_id)::text
		FROM generate_series(1, $count) AS n)" # 7919 is a prime: no stream comes twice
	cat <<-END
		\\set i random(0, $((each - 1)))
		\\set stream_id $first + :i * $clients + :client_id
		\\set sequence_number :sequence_number + 1
	END
	case $1,$2 in
	hand,*' many '*)
		for ((n = 1; n <= count; n++)); do
			echo "\\set stream_$n $first + (:i + $n * 7919) % $each * $clients + :client_id"
		done
		printf '\\startpipeline\n'
		text=$(section "$1" "${2%% *} $(state_type "$1" json)")
		for ((n = 1; n <= count; n++)); do
			echo "${text//:stream_id/:stream_$n}"
		done
		printf '\\endpipeline\n'
		;;
	*,'save many '*)
		echo "SELECT * FROM snapshot_save_many($many, array_fill(CAST(:sequence_number AS bigint), '{$count}'),
			array_fill(1::bigint, '{$count}'), array_fill(CAST(:state AS json), '{$count}'));"
		;;
	*,'load many '*) echo "SELECT * FROM snapshot_load_many($many, :recognized);" ;;
	*)
		text=$(section "$1" "$2 $(state_type "$1" json)")
		# Several statements are one transaction, and here one message, too.
		if [ "$(grep -c ';$' <<<"$text")" -gt 1 ]; then
			printf '\\startpipeline\n%s\n\\endpipeline\n' "$text"
		else
			echo "$text"
		fi
		;;
	esac
}

# measure CONTENDER OPERATION: how many snapshots a second, in $rate.
measure() {
	local state count=1 duration=(-T "$seconds")
	[ -z "$short" ] || duration=(-t $((clients == 1 ? 50 : 10)))
	[[ $2 != *' many '* ]] || count=${2##* }
	state=$(<"$(state_file "$size" json)")
	[ "$(state_type "$1" json)" != bytea ] || state=${state//\\/\\\\}
	script "$1" "$2" >"$work/script.sql"
	runs=$((runs + 1))
	pgbench -n -M prepared -c "$clients" "${duration[@]}" -f "$work/script.sql" -D "state=$state" \
		-D state_schema_version=1 -D 'recognized={1}' -D "sequence_number=$((runs * 1000000))" "$1" \
		>"$work/pgbench.log" 2>&1 || die "$1, $2: $(cut -c -500 "$work/pgbench.log")"
	rate=$(awk -v count="$count" '/^tps/ { print $3 * count }' "$work/pgbench.log")
}

# measure_rounds PART FIGURE REFERENCE CONTENDER/OPERATION...: each of them in each round. Records
# the median rates, and the medians of the ratios of a round to the same, but single, operation
# of the contender that is the reference.
measure_rounds() {
	local part=$1 figure=$2 reference=$3 cells=("${@:4}") log=$work/rounds.tsv
	local round i contender operation setting ratio
	setting="$(state_name "$size" json), $clients client$([ "$clients" = 1 ] || echo s)"
	: >"$log"
	for ((round = 0; round < rounds; round++)); do
		for ((i = 0; i < ${#cells[@]}; i++)); do
			IFS=/ read -r contender operation <<<"${cells[(i + round) % ${#cells[@]}]}"
			show_progress "$setting: round $((round + 1)) of $rounds, $operation, $contender"
			if [ "$contender" = redis ]; then
				measure_redis_itself "$operation"
			else
				measure "$contender" "$operation"
			fi
			printf '%s\t%s\t%s\t%s\n' "$round" "$contender" "$operation" "$rate" >>"$log"
		done
	done
	[ ! -t 1 ] || printf "\r\033[K"
	for i in "${cells[@]}"; do
		IFS=/ read -r contender operation <<<"$i"
		record "$part" "$operation" "$setting" "$contender" "$figure" \
			"$(awk -F'\t' -v c="$contender" -v o="$operation" '$2 == c && $3 == o { print $4 }' "$log" | median)"
		[ "$i" != "$reference/${operation%% *}" ] || continue
		ratio=$(awk -F'\t' -v c="$contender" -v o="$operation" -v r="$reference" -v ro="${operation%% *}" '
			$2 == c && $3 == o { rate[$1] = $4 }
			$2 == r && $3 == ro { other[$1] = $4 }
			END { for (round in rate) print rate[round] / other[round] }' "$log" | median)
		record "$part" "$operation" "$setting" "$contender" "ratio to ${reference/redis/Redis}" "$ratio"
	done
}
