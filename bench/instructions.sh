# shellcheck shell=bash
#
# Instructions of each operation, counted by callgrind on a single-user backend: hardly another
# number the next time, whatever else the machine does. What a call costs beyond the floor, a
# prepared statement that only returns its parameter, is the operation's own; that beyond the input, one
# that only takes the state and has it checked to be JSON, as any column for JSON does.
#
# One backend does all operations of a contender. Calls of pg_backend_pid mark where they begin
# and end: whenever that is entered, callgrind writes what it has counted and begins anew.
#
# shellcheck disable=SC2154 # $work, $short and $part are those of scripts/bench

stored=1000 # streams: so many that no plan does without the index

# calls COUNT STREAMS LINE [FIRST [VERSIONS]]: the line so often, with its parameters filled in:
# so many streams in turn, whose names are in no order, sequence numbers that grow from FIRST on, and
# the states in turn, another one for a stream each time.
calls() {
	awk -v from="$called" -v count="$1" -v streams="$2" -v line="$3" -v first="${4:-0}" \
		-v recognized="${5:-1}" -v states="$states_set" '
		BEGIN {
			for (n = from; n < from + count; n++) {
				text = line
				stream = sprintf("'\''order-%010d'\''", (n % streams + 1) * 1103515245 % 2147483647)
				gsub(/:stream_id/, stream, text)
				gsub(/:sequence_number/, "'\''" first + n "'\''", text)
				gsub(/:state_schema_version/, "'\''1'\''", text)
				gsub(/:state_name/, "'\''bench.state_" (n + int(n / streams)) % states "'\''", text)
				gsub(/:recognized/, "'\''{" recognized "}'\''", text)
				print text
			}
		}'
	called=$((called + $1))
}

# operation NAME COUNT STREAMS LINE [FIRST [VERSIONS]]: the same by ours_untracked, too, where it is ours: so
# few instructions are between them that they take turns in one backend. (In this part alone.)
operation() {
	operation_by "$contender" "$@"
	if [ "$part,$contender" = instructions,ours ]; then
		section ours_untracked session
		operation_by ours_untracked "$@"
		echo "RESET snapshot_store.track;"
	fi
}

# operation_by CONTENDER NAME COUNT STREAMS LINE [FIRST [VERSIONS]]: a call for each stream to warm up, and
# that many calls between marks. (The first six of a statement have plans of their own.)
operation_by() {
	local by=$1
	shift
	echo "VACUUM $table;"
	calls "$(($2 < $3 ? $2 : $3))" "${@:3}"
	echo "$mark"
	calls "$2" "${@:3}"
	echo "$mark"
	operations+=("$1"$'\t'"$setting"$'\t'"$by"$'\t'"$2")
}

# operations_on SIZE json|bytes OPERATION...: these operations on states of this size.
operations_on() {
	local type name count=100 streams=100 fresh=1000000000 save load unrecognized
	type=$(state_type "$contender" "$2")
	[ -n "$type" ] || return 0
	case $1 in
	0.5) [ -n "$short" ] || count=400 ;;
	16 | 64) count=20 streams=20 ;;
	1024) count=2 streams=2 ;;
	esac
	setting=$(state_name "$1" "$2")
	save=$(execute_line "$contender" "save $type" "$2")
	load=$(execute_line "$contender" "load $type" "$2")
	unrecognized=$(execute_line "$contender" "load unrecognized $type" "$2")
	use_states "$1" "$2"
	[ "$2" != json ] || operation input "$count" "$streams" "EXECUTE input (:state_name);"
	for name in "${@:3}"; do
		case $name in
		save) operation save "$count" "$streams" "$save" 1000000 ;;
		load) operation load "$count" "$streams" "$load" ;;
		unrecognized) operation "load unrecognized" "$count" "$streams" "${unrecognized:-$load}" 0 2 ;;
		nothing) operation "load nothing" "$count" "$fresh" "$load" ;;
		insert) operation "save insert" "$count" "$fresh" "$save" 1000000 ;;
		old) operation "save too old" "$count" "$streams" "$save" ;;
		esac
	done
}

# use_states SIZE json|bytes: sets them, and how many there are.
use_states() {
	set_states "$@"
	states_set=$(set_states "$@" | wc -l)
}

# What the backend of the contender is told before it is measured.
preparation() {
	local kind type name
	section "$contender" session
	echo "PREPARE floor (text) AS SELECT \$1;"
	echo "PREPARE input (text) AS SELECT current_setting(\$1)::json IS NULL;"
	for kind in json bytes; do
		type=$(state_type "$contender" "$kind")
		for name in save load 'load unrecognized'; do
			prepare_statements "$contender" "$name $type" "$kind"
		done
	done
}

# The operations of this part; of one with a dictionary, those on states of this size.
all_operations() {
	local size
	[ "$1" != 0.5 ] || operations_on 0.5 json save load unrecognized nothing insert old
	case $contender in
	ours_dictionary) [ "$1" = 0.5 ] || operations_on "$1" json save load unrecognized ;;
	hand | usual | ours | ours_state)
		if [ -z "$short" ]; then
			operations_on 0.5 bytes save load
			for size in 2 4 4.5 8 16 64 1024; do
				operations_on "$size" json save load unrecognized
				operations_on "$size" bytes save load
			done
		else
			operations_on 64 json save load unrecognized
		fi
		;;
	*) [ -n "$short" ] || operations_on 64 json save load unrecognized ;;
	esac
}

# count_contender FUNCTION [SIZE]: counts what the contender does, by these operations, one backend for all of
# it; one with a dictionary, with states of this size.
count_contender() {
	local operations=() called=0 states_set=1 table setting type size save
	table=$(section "$contender" table | sed -n 's/^CREATE TABLE \([a-z_0-9]*\).*/\1/p')
	: "${table:=snapshot_store}"
	type=$(state_type "$contender" json)
	{
		section "$contender" table | tr '\n' ' '
		echo
		training "$contender" "${@:2}"
		preparation
		use_states 0.5 json
		save=$(execute_line "$contender" "save $type")
		calls "$stored" "$stored" "$save" 1000000
		calls 500 100 "$save" 1000000 # for who keeps several
		echo "VACUUM ANALYZE;"
	} >"$work/input"
	printf '%s\n' "DROP DATABASE IF EXISTS $contender;" "CREATE DATABASE $contender;" | single_user postgres
	single_user "$contender" <"$work/input"
	if [[ $1 = all_operations && ${2:-0.5} = 0.5 && $contender = @(hand|ours|ours_state|ours_dictionary) ]]; then
		count_first load
		count_first save
	fi
	{
		preparation
		echo "$mark"
		echo "$mark"
		setting=text
		operation floor 400 1000 "EXECUTE floor (:stream_id);"
		"$1" "${2:-0.5}"
	} >"$work/input"
	count_instructions "$contender" <"$work/input"
	record_counted
}

# count_first load|save: counts the first such call of a backend, prepared and executed, which learns all
# that the session then knows. A session that authenticated itself by SCRAM had SHA-256 already.
count_first() {
	{
		section "$contender" session
		echo "SELECT sha256('');"
		use_states 0.5 json
		printf '%s\n' "$mark" "$mark"
		prepare_statements "$contender" "$1 $type"
		calls 1 "$stored" "$(execute_line "$contender" "$1 $type")" 2000000
		echo "$mark"
	} | count_instructions "$contender"
	record instructions "first $1" "$(state_name 0.5 json)" "$contender" instructions $(($(counted 3) - $(counted 2)))
}

record_counted() {
	local i nothing floor='' cost name setting by count
	local -A input
	nothing=$(counted 2) # the marks themselves
	for i in "${!operations[@]}"; do
		IFS=$'\t' read -r name setting by count <<<"${operations[i]}"
		cost=$((($(counted $((2 * i + 4))) - nothing) / count))
		: "${floor:=$cost}"
		record "$part" "$name" "$setting" "$by" instructions "$cost"
		[ "$name" = floor ] ||
			record "$part" "$name" "$setting" "$by" "beyond the floor" "$((cost - floor))"
		[ "$name" != input ] || input[$setting]=$cost
		[[ $name != save* || -z ${input[$setting]:-} ]] ||
			record "$part" "$name" "$setting" "$by" "beyond the input" "$((cost - input[$setting]))"
	done
}

# A cluster for the backends that are counted.
make_single() {
	initdb -D "$work/single" -U postgres -A trust -E UTF8 --no-locale --no-sync >"$work/single.log"
	# A single-user backend goes on with the OIDs of the catalogs, whose row security is never in force.
	# After an object of a user, it does not.
	pg_ctl -w -D "$work/single" -o "-c listen_addresses='' -k '$work/single'" start >>"$work/single.log"
	psql -Xq -h "$work/single" -U postgres -c 'CREATE SCHEMA one; DROP SCHEMA one' postgres
	pg_ctl -w -D "$work/single" stop >>"$work/single.log"
}

measure_instructions() {
	local contender size measured=(0.5 2 4 4.5 8 16 64)
	[ -z "$short" ] || measured=(0.5)
	make_single
	for contender in $(contenders) hand_policy ours_policy; do
		[ -z "$short" ] || [[ $contender = @(hand|usual|ours|*_policy) ]] || continue
		show_progress "$contender"
		if [ -n "$(section "$contender" training)" ]; then # a dictionary is for one kind
			for size in "${measured[@]}"; do
				count_contender all_operations "$size"
			done
		else
			count_contender all_operations
		fi
	done
	rm -rf "$work/single"
}
