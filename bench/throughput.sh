# shellcheck shell=bash
#
# Calls a second: saves that overwrite and loads that find, a random stream of 10,000 each. A
# larger state is of fewer streams, so that all of them are in memory.

# shellcheck source=bench/rounds.sh
. bench/rounds.sh

measure_throughput() {
	local contenders contender cells measured=(0.5 4.5 64)
	[ -z "$short" ] || measured=(0.5 64)
	for size in "${measured[@]}"; do
		contenders=(hand ours usual)
		[ "$size" != 0.5 ] || mapfile -t contenders < <(contenders)
		[ "$size" != 64 ] || streams=$((streams / 10))
		cells=()
		for contender in "${contenders[@]}"; do
			fill "$contender"
			cells+=("$contender/load" "$contender/save")
		done
		for clients in 1 16; do
			[ -n "$short" ] || rounds=$((clients == 1 ? 7 : 3))
			measure_rounds throughput calls/s hand "${cells[@]}"
		done
		for contender in "${contenders[@]}"; do
			psql -Xqc "DROP DATABASE $contender"
		done
	done
}
