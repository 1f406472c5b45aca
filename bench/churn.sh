# shellcheck shell=bash
#
# What the parts wal, disk and limits share: streams that are overwritten again and again with states that
# change. Equal states would hide costs: PostgreSQL logs only what an update on the same page
# changes.
#
# shellcheck disable=SC2154 # $work is that of scripts/bench

# make_streams CONTENDER SIZE: its database, empty, with the states of that size to come.
make_streams() {
	local type value
	make_database "$1" "$2"
	# The states must not be compressed: what is, is stored as it came.
	psql -Xq -v ON_ERROR_STOP=1 -d "$1" >/dev/null <<-END
		CREATE TABLE states (n serial PRIMARY KEY, state text) WITH (autovacuum_enabled = off);
		ALTER TABLE states ALTER COLUMN state SET STORAGE EXTERNAL;
		$(copy_states states changing "$2")
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
	# A single statement is a transaction of its own.
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
