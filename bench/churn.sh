# shellcheck shell=bash
#
# What the parts wal and disk share: streams that are overwritten again and again with states that
# change. Equal states would hide costs: PostgreSQL logs only what an update on the same page
# changes.
#
# shellcheck disable=SC2154 # $work and $states are those of scripts/bench

# changing_states SIZE: makes 100 states, some 20 % smaller or larger than the size in KB, of runs
# of the real documents or else of the lines of the large generated state; one a line.
changing_states() {
	{
		if [ -n "$states" ]; then
			cat "$states"/*.jsonl
		else
			sed -E 's/.*"lines":\[//; s/\],"note".*//; s/\},\{/}\n{/g' "$(state_file 1024 json)"
		fi
	} | perl -ne '
		BEGIN { $size = 1024 * shift; srand 1 }
		chomp;
		push @documents, $_ unless /\\u0000/ or !/\S/; # jsonb has no place for the character 0
		END {
			for (my $made = my $tries = 0; $made < 100; $tries++) {
				my $least = $size * (0.8 + rand 0.3);
				my ($i, $length, @run) = (int rand @documents, -1);
				while ($length < $least and $i < @documents) {
					$length += 1 + length $documents[$i];
					push @run, $documents[$i++];
				}
				next if ($length < $least or $length > 1.2 * $size) and $tries < 100_000;
				print @run == 1 ? $run[0] : "[" . join(",", @run) . "]", "\n";
				$made++;
			}
		}' "$1" >"$work/states/changing.$1"
}

# make_streams CONTENDER SIZE: its database, empty, with the states of that size to come.
make_streams() {
	local type value
	[ -e "$work/states/changing.$2" ] || changing_states "$2"
	make_database "$1"
	# The states must not be compressed: what is, is stored as it came.
	psql -Xq -v ON_ERROR_STOP=1 -d "$1" >/dev/null <<-END
		CREATE TABLE states (n serial PRIMARY KEY, state text) WITH (autovacuum_enabled = off);
		ALTER TABLE states ALTER COLUMN state SET STORAGE EXTERNAL;
		\copy states (state) FROM '$work/states/changing.$2' (FORMAT csv, QUOTE e'\x01', DELIMITER e'\x02')
		VACUUM ANALYZE states;
	END
	type=$(state_type "$1" json)
	value="(SELECT state FROM states WHERE n = :n)"
	case $type in
	bytea) value="convert_to($value, 'UTF8')" ;;
	*) value="$value::$type" ;;
	esac
	# A round is one save of each stream, in an order of its own.
	{
		cat <<-'END'
			\set sequence_number :saved / :streams + 1
			\set i permute(:saved % :streams, :streams, :sequence_number)
			\set saved :saved + 1
			\set state_schema_version 1
			\set n random(1, 100)
			BEGIN;
		END
		statements "$1" "save $type" | sed "s/:stream_id\>/('order-' || :i)/g; s/:state\>/$value/g"
		echo 'END;'
	} >"$work/$1.save"
	if [ "$(grep -c ';$' "$work/$1.save")" = 3 ]; then
		sed -i '/^BEGIN;$/d; /^END;$/d' "$work/$1.save"
	fi
}

# save_streams CONTENDER STREAMS FROM TO [OPTION...]: the rounds of this range (the first round, 1,
# inserts), each save a transaction of its own; with options of pgbench.
save_streams() {
	PGOPTIONS='-c synchronous_commit=off -c snapshot_store.durable=off' \
		pgbench -n -M prepared -t $((($4 - $3 + 1) * $2)) -D "streams=$2" -D "saved=$((($3 - 1) * $2))" \
		--random-seed "$3" -f "$work/$1.save" "${@:5}" "$1" >"$work/$1.log" 2>&1 ||
		die "$1: $(cat "$work/$1.log")"
}

# configure NAME VALUE...: settings of the server, until the part ends.
configure() {
	trap reset_configuration EXIT
	while [ $# -gt 0 ]; do
		echo "ALTER SYSTEM SET $1 = '$2';"
		shift 2
	done | psql -Xq -v ON_ERROR_STOP=1
	psql -Xqc 'SELECT pg_reload_conf()' >/dev/null
}

reset_configuration() {
	printf '%s;\n' 'ALTER SYSTEM RESET ALL' 'SELECT pg_reload_conf()' | psql -Xq >/dev/null
}
