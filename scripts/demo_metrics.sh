# shellcheck shell=bash
#
# scripts/demo --metrics: a deployment that goes wrong, and what snapshot_stats shows of it, as a table and,
# on file descriptor 3, as a plot.

# scripts/lib.sh sets $work.
# shellcheck disable=SC2154

# run_version VERSION SECONDS: two clients of the application, 120 commands a second.
run_version() {
	pgbench -n -c 2 -R 120 -T "$2" -D "version=$1" -f "$work/command.sql" >>"$work/pgbench.log" 2>&1 &
}

# phase NAME SECONDS
phase() {
	query "INSERT INTO moments (what) VALUES ('$1')"
	echo "$1 ..."
	sleep "$2"
}

# Before 17, the library is what lets sessions share what they count.
query "ALTER SYSTEM SET shared_preload_libraries = 'snapshot_store'"
stop_server
start_server
psql -Xq -v ON_ERROR_STOP=1 -f scripts/demo_metrics.sql
cat >"$work/command.sql" <<'END'
\set n random(1, 50)
CALL command('order-' || :n, :version);
END
query "DO 'BEGIN FOR n IN 1..50 LOOP CALL command(''order-'' || n, 1); END LOOP; END'"
psql -Xq -c 'CALL record_statistics()' >/dev/null 2>&1 &

run_version 1 23
phase "version 1" 6
run_version 2 23
phase "version 2 beside it" 8
query "ALTER SYSTEM SET snapshot_store.keep_versions = 2" "SELECT pg_reload_conf()" >/dev/null
phase "keep_versions = 2" 9
phase "version 1 has retired" 5

psql -Xq -P null= -P footer=off -c 'SELECT what, hit_percent AS "% found", unrecognized, replayed AS "events replayed" FROM phases'

query "SELECT format('%s %s %s', elapsed, 100 * found / nullif(loads, 0), unrecognized / seconds) FROM rates ORDER BY at" \
	>"$work/rates"
mapfile -t marks < <(query "SELECT format('set arrow from %1\$s, graph 0 to %1\$s, graph 1 nohead dashtype 2 linecolor rgb ''#5f6368''',
	extract(epoch FROM begins - (SELECT min(at) FROM recorded))) FROM moments ORDER BY begins OFFSET 1")
mapfile -t names < <(query "SELECT format('set label ''%s'' at %s, graph 1.06 left',
	what, extract(epoch FROM greatest(begins, (SELECT min(at) FROM recorded)) - (SELECT min(at) FROM recorded)))
	FROM moments ORDER BY begins")
gnuplot >&3 <<END
set terminal svg size 960,500 font 'sans-serif,15' background '#ffffff' noenhanced
set border 3
set tics nomirror
set grid ytics linetype 1 linecolor rgb '#d5d8dc'
set xrange [0:*]
unset key
$(printf '%s\n' "${marks[@]}" "${names[@]}")
set multiplot layout 2,1 margins 0.1,0.97,0.15,0.92 spacing 0.12
set ylabel 'loads that find, %'
set yrange [0:105]
set ytics 50
plot '$work/rates' using 1:2 with lines linewidth 3 linecolor rgb '#0b57d0'
unset label
set ylabel 'unrecognized loads / s'
set xlabel 'seconds'
set yrange [0:*]
plot '$work/rates' using 1:3 with lines linewidth 3 linecolor rgb '#c5221f'
END
