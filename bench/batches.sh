# shellcheck shell=bash
#
# Snapshots a second in batches, one client, each batch a transaction of its own that is flushed: by one call,
# and by pipelined statements, which is the best that a driver makes of single ones.

# shellcheck source=bench/rounds.sh
. bench/rounds.sh

measure_batches() {
	local contender operation count cells=()
	seconds=2
	for contender in hand ours managed; do
		fill "$contender"
	done
	for operation in save load; do
		for contender in hand ours managed; do
			cells+=("$contender/$operation")
			for count in 1 10 100 1000; do
				cells+=("$contender/$operation many $count")
			done
		done
	done
	measure_rounds batches snapshots/s hand "${cells[@]}"
}
