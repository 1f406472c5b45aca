# shellcheck shell=bash
#
# What the parts of scripts/bench share: the contenders and their statements, the states, and
# the results.
#
# shellcheck disable=SC2034,SC2154 # $work, $states and $results are those of scripts/bench

# ---- contenders -------------------------------------------------------------------------

# Their names, but for those that concern one part alone.
contenders() {
	basename -s .sql bench/contenders/*.sql | grep -vE "_policy|_untracked|_partitions"
}

# section CONTENDER NAME: what its file has under "-- NAME", or else the file that it is like. "\i FILE"
# stands for that file, without its comments.
section() {
	local file=bench/contenders/$1.sql text like
	text=$(awk -v name="-- $2" '
		/^-- (table|session|training|save|load|like)( |$)/ { on = 0 }
		on && /^\\i / {
			while ((getline line < $2) > 0) {
				sub(/(^|[[:space:]])--( .*)?$/, "", line)
				print line
			}
			next
		}
		on
		$0 == name { on = 1 }' "$file")
	like=$(sed -n 's/^-- like //p' "$file")
	if [ -n "$text" ]; then
		printf '%s\n' "$text"
	elif [ -n "$like" ]; then
		section "$like" "$2"
	fi
}

# state_type CONTENDER KIND: the type in which it stores states that are json or bytes. (One that
# stores jsonb may be like one that stores json.)
state_type() {
	local type types=(jsonb json bytea)
	[ "$2" = json ] || types=(bytea)
	for type in "${types[@]}"; do
		if [ -n "$(section "$1" "save $type")" ]; then
			echo "$type"
			return
		fi
	done
}

# make_database CONTENDER [SIZE]: a database of its name, with its table, the settings of its sessions and
# its dictionary for states of this size.
make_database() {
	{
		printf 'DROP DATABASE IF EXISTS %s;\nCREATE DATABASE %s;\n\\connect %s\n' "$1" "$1" "$1"
		section "$1" table
		training "$@"
		section "$1" session | sed "s/^SET /ALTER DATABASE $1 SET /"
	} | PGOPTIONS='-c client_min_messages=warning' psql -Xq -v ON_ERROR_STOP=1 >/dev/null
}

# copy_states TABLE FILE SIZE: a line of SQL that fills the table's column "state".
copy_states() {
	printf '%s\n' "COPY $1 (state) FROM '$work/states/$2.$3' (FORMAT csv, QUOTE e'\x01', DELIMITER e'\x02');"
}

# training CONTENDER SIZE: statements, a line each, that train its dictionary, if it has one.
training() {
	[ -n "$(section "$1" training)" ] || return 0
	echo "CREATE TABLE training (state text);"
	copy_states training training "$2"
	statements "$1" training
	echo "DROP TABLE training;"
}

# ---- statements for a single-user backend -----------------------------------------------
#
# It takes each line as one query, and several statements in a line as one transaction.

# statements CONTENDER NAME: those of the section, a line each, without comments.
statements() {
	section "$1" "$2" | sed -E 's/(^|[[:space:]])--.*//' | tr -s '\n\t ' ' ' |
		sed -E 's/; */;\n/g' | sed -E 's/^ //; /^$/d'
}

# bound PREPARE|EXECUTE CONTENDER NAME [json|bytes]: such statements for those of the section.
bound() {
	local type=${3##* } state="current_setting(:state_name)"
	case $type,${4:-json} in
	bytea,json) state="convert_to($state, 'UTF8')" ;;
	bytea,bytes) state="decode($state, 'hex')" ;;
	*) state="$state::$type" ;;
	esac
	statements "$2" "$3" | awk -v what="$1" -v name="${3// /_}_${4:-json}" -v state="$state" '
		BEGIN {
			n = split("stream_id text sequence_number bigint state_schema_version bigint " \
				"recognized bigint[] state_name text", p)
		}
		{
			i = 0; types = ""; arguments = ""
			for (k = 1; k < n; k += 2) {
				if (p[k] == "state_name")
					gsub(/:state/, state) # what is left of these
				if (gsub(":" p[k], "$" (i + 1))) {
					comma = i++ ? ", " : ""
					types = types comma p[k + 1]
					arguments = arguments comma ":" p[k]
				}
			}
			if (what == "PREPARE")
				print "PREPARE " name "_" NR (i ? " (" types ")" : "") " AS " $0
			else
				printf "EXECUTE %s_%d%s; ", name, NR, i ? " (" arguments ")" : ""
		}
		END { if (what == "EXECUTE") print "" }'
}

# prepare_statements CONTENDER NAME [json|bytes]: a line of PREPARE for each statement of the
# section. The state is what the setting has that the parameter names (set_state, set_states), and no
# parameter itself: to parse and plan an argument of EXECUTE takes longer than what a driver does to
# pass it.
prepare_statements() {
	bound PREPARE "$@"
}

# execute_line CONTENDER NAME [json|bytes]: the line that executes them in one transaction. The
# other parameters are left in it.
execute_line() {
	bound EXECUTE "$@"
}

# callgrind writes what it has counted, and begins anew, whenever the function of this is entered.
mark="SELECT pg_backend_pid();"

# single_user DATABASE [COMMAND...]: such a backend, in the cluster $work/single, runs statements
# from standard input; by way of the command (count_instructions).
single_user() {
	"${@:2}" "$(type -P postgres)" --single -D "$work/single" -F -c max_wal_size=20GB "$1" \
		>/dev/null 2>"$work/single.log" || {
		tail "$work/single.log" >&2
		return 1
	}
	! grep -E '(ERROR|FATAL|PANIC):' "$work/single.log" >&2
}

# count_instructions DATABASE: the same under callgrind, up to each mark. Not counted is how bytes
# become text and text becomes bytes, since drivers pass them as they are.
count_instructions() {
	rm -f "$work"/counted*
	single_user "$1" valgrind -q --tool=callgrind --dump-before=pg_backend_pid --dump-line=no \
		--toggle-collect=hex_encode --toggle-collect=binary_decode --toggle-collect=pg_convert_to \
		--collect-atstart=yes --callgrind-out-file="$work/counted"
}

# counted NUMBER: the instructions before that mark, since the one before that.
counted() {
	sed -n 's/^totals: //p' "$work/counted.$1"
}

# ---- states -----------------------------------------------------------------------------

# make_states: the states of each size, from $states or generated (bench/states.pl).
make_states() {
	mkdir -p "$work/states"
	if [ -n "$states" ]; then
		perl bench/states.pl "$work/states" "$states"/*.jsonl
	else
		perl bench/states.pl "$work/states"
	fi
}

# state_file SIZE json|bytes: the file of this state.
state_file() {
	echo "$work/states/state.$1.$2"
}

# state_name SIZE json|bytes: what a setting calls it, such as: 64 KB real json.
state_name() {
	local size="$1 KB" kind=$2
	[ "$1" != 1024 ] || size="1 MB"
	[ "$2" != json ] || [ -z "$states" ] || kind="real json"
	echo "$size $kind"
}

# set_state SIZE json|bytes: SET bench.state, in which bytes are in hex.
set_state() {
	echo "SET bench.state = '$(if [ "$2" = bytes ]; then
		od -An -v -tx1 "$(state_file "$@")" | tr -d ' \n'
	else
		sed "s/'/''/g" "$(state_file "$@")"
	fi)';"
}

# set_states SIZE json|bytes: SET bench.state_0, and so on, up to 20 states; there are fewer of bytes, which
# no server compresses, and of the largest.
set_states() {
	local changing=$work/states/changing.$1
	if [ "$2" = json ] && [ -s "$changing" ]; then
		head -n 20 "$changing" | sed "s/'/''/g" | awk '{ print "SET bench.state_" NR - 1 " = '\''" $0 "'\'';" }'
	else
		set_state "$@" | sed 's/bench.state/&_0/'
	fi
}

# ---- results ----------------------------------------------------------------------------

# show_progress TEXT: a line that the next one overwrites.
show_progress() {
	[ ! -t 1 ] || printf '\r\033[K  %s\r' "$1"
}

# record PART OPERATION SETTING CONTENDER FIGURE VALUE
record() {
	local IFS=$'\t'
	echo "$*" >>"$results"
}

# ratio A B: of these numbers.
ratio() {
	awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", a / b }'
}

# The median of the numbers, one a line.
median() {
	sort -g | awk '{ a[NR] = $1 } END { print (a[int((NR + 1) / 2)] + a[int(NR / 2) + 1]) / 2 }'
}
