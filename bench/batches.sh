# shellcheck shell=bash
#
# Snapshots a second in batches, one client, each batch a transaction of its own that is flushed: by one call,
# and by pipelined statements, which is the best that a driver makes of single ones.

# shellcheck source=bench/rounds.sh
. bench/rounds.sh

measure_batches() {
	local contender operation count cells=()
	seconds=2
	for contender in hand ours; do
		fill "$contender"
	done
	for operation in save load; do
		cells+=("hand/$operation" "ours/$operation")
		for count in 1 10 100 1000; do
			cells+=("hand/$operation many $count" "ours/$operation many $count")
		done
	done
	measure_rounds batches snapshots/s hand "${cells[@]}"
}
