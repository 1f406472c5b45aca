# shellcheck shell=bash
#
# Durable saves and loads beside SET and GET of a Redis that flushes each SET, too, before it
# answers. Its keys are as many, its values as long.

# shellcheck source=bench/rounds.sh
. bench/rounds.sh

declare -A requests

redis() { "redis-$1" -s "$work/redis.socket" "${@:2}"; }

start_redis() {
	mkdir -p "$work/redis"
	# This program is the server, by the name that it is called. The package redis-server only
	# adds that name, and makes it a service of the machine.
	ln -s "$(type -P redis-check-rdb)" "$work/redis-server"
	setsid setpriv --pdeathsig KILL "$work/redis-server" --port 0 --unixsocket "$work/redis.socket" \
		--dir "$work/redis" --appendonly yes --appendfsync always --save '' >"$work/redis.log" 2>&1 &
	redis_server=$!
	until redis cli ping >/dev/null 2>&1; do
		kill -0 "$redis_server" || die "$(cat "$work/redis.log")"
		sleep 0.1
	done
	# redis-benchmark asks for these keys.
	redis cli eval "for i = 0, ARGV[1] - 1 do
		redis.call('SET', string.format('key:%012d', i), ARGV[2]) end" 0 "$streams" \
		"$(<"$(state_file "$size" json)")" >/dev/null
}

# measure_redis_itself save|load: how many a second, in $rate. It takes a number of requests, which
# comes from the rate of the round before.
measure_redis_itself() {
	local test="set"
	[ "$1" = save ] || test="get"
	rate=$(redis benchmark --csv -t "$test" -c "$clients" -n "${requests[$1 $clients]:-1000}" \
		-r "$streams" -d "$(stat -c %s "$(state_file "$size" json)")" |
		awk -F'"' 'toupper($2) ~ /^(SET|GET)$/ { print $4 }')
	[ -n "$rate" ] || die "redis-benchmark measured nothing"
	requests[$1 $clients]=$(awk "BEGIN { print int($rate * $seconds) }")
}

measure_redis() {
	local contender cells=()
	if ! type redis-check-rdb redis-cli redis-benchmark >/dev/null 2>&1; then
		echo "redis: skipped, since redis-tools is missing" >&2
		return
	fi
	seconds=2
	[ -n "$short" ] || rounds=5
	start_redis
	for contender in hand ours; do
		fill "$contender"
	done
	for contender in redis hand ours; do
		cells+=("$contender/save" "$contender/load")
	done
	cells+=('ours/save many 10')
	for clients in 1 16; do
		measure_rounds redis snapshots/s redis "${cells[@]}"
	done
	kill "$redis_server"
	wait "$redis_server" || true
}
