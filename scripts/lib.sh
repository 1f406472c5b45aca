# shellcheck shell=bash
#
# What scripts/test, scripts/demo, bench/ and test/clients/ share. Such a script runs twice:
#
# 1. As it was called, it calls `prepare`, which installs what is missing, copies the sources
#    to a temporary folder and runs the same script there as an unprivileged user (a server
#    refuses to run as root). When that ends, whatever ends it, no process and no file of it
#    stays behind.
# 2. In the copy, `build` makes a private copy of the PostgreSQL installation with the
#    extension in it, and `start_server` starts a throw-away server from that. So nothing
#    but packages gets into the system, and no other server is touched.

set -euo pipefail
# The user's locale has no say, which this machine may not even have. What takes LC_ALL away, as
# PostgreSQL's own tests do, finds one that speaks UTF-8.
export LANG=C.UTF-8
unset LANGUAGE "${!LC_@}"
export LC_ALL=C

source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
clients=()
work=${SNAPSHOT_STORE_WORK:-} # the temporary folder; empty in the first run
oldest_server=15

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# pg_path bindir: where the chosen server has that; nothing while there is no such server.
pg_path() {
	"${PG_CONFIG:-none}" "--$1" 2>/dev/null || true
}

server_major() {
	pg_path version | sed 's/[^0-9]*\([0-9]*\).*/\1/'
}

# ---- first run: packages ----------------------------------------------------------------

# need PACKAGE COMMAND...: the package is missing unless the command succeeds. The command
# tries the thing itself, since that may have come in another way.
need() {
	"${@:2}" >/dev/null 2>&1 || [[ " ${missing[*]} " = *" $1 "* ]] || missing+=("$1")
}

# Can extensions be built for the chosen server? pg_config and pgxs.mk come with its client and say
# nothing of that.
has_headers() {
	[ -e "$(pg_path includedir-server)/postgres.h" ] && [ -e "$(pg_path pgxs)" ]
}

apt_knows() {
	[[ $(apt-cache policy "$1" 2>/dev/null) = *Candidate:\ [!\(]* ]]
}

# want PACKAGE COMMAND...: need, if apt knows the package: not every distribution has it, and its tests can
# be skipped.
want() {
	! apt_knows "$1" || need "$@"
}

# compiles HEADER FLAG...: does gcc find the library that has the header, to compile with and to link to?
compiles() {
	gcc -x c -o /dev/null - "${@:2}" <<<"#include <$1>
		int main(void) { return 0; }"
}

# What drives PostgreSQL's own tests. A server built from source has all of it only if it was
# configured with --enable-tap-tests.
has_test_drivers() {
	local drivers
	drivers=$(dirname "$(pg_path pgxs)")/../test
	[ -x "$drivers/regress/pg_regress" ] && [ -x "$drivers/isolation/pg_isolation_regress" ] &&
		[ -e "$drivers/perl/PostgreSQL/Test/Cluster.pm" ]
}

# Every package that the demo, the test, the test under a tool, the benchmark or the test of $clients
# ($1) needs.
find_missing() {
	local client line
	missing=()
	need make make --version
	need gcc gcc --version
	need libc6-dev compiles stdio.h
	need libzstd-dev compiles zdict.h -lzstd
	need "postgresql${major:+-$major}" test -x "$(pg_path bindir)/postgres"
	need "postgresql-server-dev-${major:-all}" has_headers
	[[ $1 != *coverage ]] || need gcc gcov --version
	[[ $1 != *valgrind && $1 != bench ]] || need valgrind valgrind true
	[[ $1 != *--metrics ]] || need gnuplot-nox gnuplot -e 'set terminal svg'
	[[ $1 != demo* ]] || return 0
	need perl prove --version
	if [ "$1" = bench ]; then
		need libdbd-pg-perl perl -MDBD::Pg -e 1
		need redis-tools type -P redis-benchmark redis-cli redis-check-rdb
		need gnuplot-nox gnuplot -e 'set terminal svg'
		return
	fi
	if [ "$1" = clients ]; then
		need pgbouncer pgbouncer --version
		for client in "${clients[@]}"; do
			while read -r line <&3; do eval "need $line"; done 3< <(cat "$source_dir/test/clients/$client/needs")
		done 2>/dev/null
		return
	fi
	need libipc-run-perl perl -MIPC::Run -e 1
	need libdbd-pg-perl perl -MDBD::Pg -e 1
	need "postgresql-client${major:+-$major}" has_test_drivers
	need libtap-parser-sourcehandler-pgtap-perl pg_prove --version
	need libtap-parser-sourcehandler-pgtap-perl perl -MTAP::Parser::SourceHandler::pgTAP -e 1
	need "postgresql${major:+-$major}-pgtap" test -e "$(pg_path sharedir)/extension/pgtap.control"
	need cppcheck cppcheck --version
	need shellcheck shellcheck --version
	need yamllint yamllint --version
	want prometheus-sql-exporter prometheus-sql-exporter -version
}

# Chooses the server to build for: PG_CONFIG's if that is set; otherwise the one that
# pg_config stands for, if extensions can be built with it; otherwise the distribution's.
# $major stays empty while that is unknown for want of package lists.
choose_server() {
	if [ -n "${PG_CONFIG:-}" ]; then
		command -v "$PG_CONFIG" >/dev/null || die "PG_CONFIG: there is no $PG_CONFIG"
		PG_CONFIG=$(realpath --no-symlinks "$(command -v "$PG_CONFIG")")
		major=$(server_major)
	elif (PG_CONFIG=pg_config && has_headers); then
		PG_CONFIG=$(pg_config --bindir)/pg_config
		choose_server
	else
		major=$(apt-cache depends postgresql 2>/dev/null |
			sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p') || true
	fi
	[ "${major:-$oldest_server}" -ge "$oldest_server" ] ||
		die "PostgreSQL $oldest_server or later is needed, this would be $major" \
			"(apt.postgresql.org has packages of newer servers)"
}

# apt-get, quiet but for errors and, on a terminal, one line that shows where it is. What sudo has to
# say is not apt-get's, and not held back.
apt_get() {
	local line status=0 sudo=()
	[ "$(id -u)" = 0 ] || sudo=(sudo)
	"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive sh -c 'exec apt-get "$@" 2>&1' apt-get -q -y \
		-o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold "$@" |
		while read -r line; do
			case $line in
			E:* | Err:* | dpkg:*) printf '  %s\n' "$line" ;;
			*) [ ! -t 1 ] || printf '\r\033[K  %.70s\r' "$line" ;;
			esac
		done || status=$?
	[ ! -t 1 ] || printf '\033[K'
	return "$status"
}

# Installs what the demo or the test ($1) needs and does not find.
install_missing() {
	local package unknown=()
	# A server's package would create a cluster, and start those that are stopped.
	local conf=/etc/postgresql-common/createcluster.d/snapshot_store_scripts.conf
	local policy=/usr/sbin/policy-rc.d
	local before="mkdir -p ${conf%/*}; echo 'create_main_cluster = false' >$conf;
		[ -e $policy ] || { printf '#!/bin/sh\n# snapshot_store\nexit 101\n' >$policy; chmod +x $policy; }"
	local after="rm -f $conf; ! grep -qs '# snapshot_store' $policy || rm -f $policy"

	choose_server
	find_missing "$1"
	[ ${#missing[@]} -gt 0 ] || return 0
	if ! command -v apt-get >/dev/null || { [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; }; then
		die "cannot install (no apt-get, or neither root nor sudo) what is missing," \
			"by the names of Debian's packages: ${missing[*]}"
	fi
	apt_get --version || die "this user may not install what is missing," \
		"by the names of Debian's packages: ${missing[*]}"
	echo "Getting the lists of packages ..."
	apt_get update || true # one of many sources may be at fault
	choose_server
	[ -n "$major" ] || die "apt knows no package postgresql. Missing: ${missing[*]}"
	find_missing "$1"
	for package in "${missing[@]}"; do
		apt_knows "$package" || unknown+=("$package")
	done
	[ ${#unknown[@]} = 0 ] ||
		die "apt knows no package of this name (Ubuntu: is universe enabled?): ${unknown[*]}"
	echo "Installing ${missing[*]} ..." | fold -sw 80
	apt_get install --no-install-recommends -o "DPkg::Pre-Invoke::=$before" \
		-o "DPkg::Post-Invoke::=$after" "${missing[@]}" || echo "apt-get reported errors."
	choose_server
	find_missing "$1"
	[ ${#missing[@]} = 0 ] || die "apt-get could not install: ${missing[*]}"
}

# ---- first run: a folder and its end ----------------------------------------------------

# Ends every process of the folder $1 and removes it.
clean_up() {
	local folder=$1 path pid patience
	set +e
	# They have the folder in their environment. Servers are not killed but stopped, since
	# only then do they give back their shared memory, and last, since tests start more.
	grep -lszFx "SNAPSHOT_STORE_WORK=$folder" /proc/[0-9]*/environ | while read -r path; do
		path=${path%/environ}
		[ "$(cat "$path/comm")" = postgres ] || kill -KILL "${path#/proc/}"
	done
	find "$folder" -name postmaster.pid | while read -r path; do
		pid=$(head -n 1 "$path")
		# After a crash the number may be another process's by now.
		[ ! -e /proc/self ] || [ "/proc/$pid/cwd" -ef "${path%/*}" ] || continue
		kill -QUIT "$pid"
		# It kills by itself, after five seconds, what does not end, as what was stopped cannot.
		for patience in 9 8 7 6 5 4 3 2 1 0; do
			[ -e "$path" ] || break
			[ "$patience" != 0 ] || kill -KILL "$pid"
			sleep 1
		done
	done
	# What was killed a moment ago may still be writing.
	for patience in 4 3 2 1 0; do
		rm -rf "$folder" && break
		sleep "$patience"
	done
} 2>/dev/null

# make_folder USER: makes $work, where the user can run programs, and which is short enough for the
# name of a socket in it, and plain enough for make.
make_folder() {
	local parent
	for parent in "${TMPDIR:-/tmp}" /tmp /var/tmp; do
		work=$(mktemp -d "$parent/snapshot_store.XXXXXX") || continue
		cp "$(type -P true)" "$work"
		chown -R "$1" "$work"
		if [ ${#work} -lt 80 ] && [[ $work != *[!/._[:alnum:]-]* ]] && "${as_user[@]}" "$work/true"; then
			return
		fi
		rm -rf "$work"
	done 2>/dev/null
	die "found no folder for temporary files in which $1 may run programs; set TMPDIR"
}

# In the first run, what needs the rights, the toolchains and the caches of who called. Clients have that.
as_called() {
	:
}

# prepare demo|'demo --metrics'|test|'test TOOL'|bench|clients ARGUMENT...: the first run. Does not return.
prepare() {
	local kind=$1 script user body watchdog status name as_user=()
	shift
	script=$(realpath "--relative-to=$source_dir" "$0")
	install_missing "$kind"
	# A server refuses to run as root. Who owns nothing, nor any cluster, can harm none.
	user=$(id -un)
	if [ "$user" = root ]; then
		user=nobody
		as_user=(setpriv "--reuid=$user" "--regid=$(id -g "$user")" --clear-groups)
	fi
	make_folder "$user"

	# The script cannot clean up after its own SIGKILL. The watchdog does: it is woken by
	# the kernel, and in a session of its own, so that no signal to the script ends it.
	mkfifo "$work/never"
	# shellcheck disable=SC2016
	setsid setpriv --pdeathsig TERM bash -c "$(declare -f clean_up)"'
		trap "clean_up \"$1\"; exit" TERM
		exec 9<>"$1/never"
		[ "$PPID" = "$2" ] || kill -TERM $$
		read -r _ <&9' watchdog "$work" "$$" </dev/null >/dev/null 2>&1 &
	watchdog=$!
	trap 'clean_up "$work"; kill -KILL "$watchdog"' EXIT
	trap 'exit 129' HUP
	trap '[ -e "$work/psql" ] || exit 130' INT # in psql, ^C is psql's
	trap 'exit 143' TERM

	mkdir "$work/source"
	tar -C "$source_dir" --exclude=./.git -cf - . | tar -C "$work/source" --no-same-owner -xf -
	as_called
	chown -R "$user" "$work"

	# The user's own settings for clients would lead them elsewhere.
	for name in "${!PG@}"; do
		[ "$name" = PG_CONFIG ] || unset "$name"
	done
	cd "$work/source"
	SNAPSHOT_STORE_WORK=$work HOME=$work TMPDIR=$work PG_CONFIG=$PG_CONFIG \
		"${as_user[@]:-setpriv}" --pdeathsig TERM "$script" "$@" <&0 &
	body=$!
	# A signal that is trapped ends wait, too.
	status=0
	wait "$body" || status=$?
	while kill -0 "$body" 2>/dev/null; do
		status=0
		wait "$body" || status=$?
	done
	exit "$status"
}

# ---- second run -------------------------------------------------------------------------

# copy_server: makes a private copy of the server, for the extension to be installed in, and
# puts it first in PATH. PostgreSQL finds its files from where its programs are, so these must
# be copied, while the rest may be links.
copy_server() {
	local dir
	bindir=$work/root$(pg_path bindir)
	mkdir -p "$bindir"
	cp -R "$(pg_path bindir)/." "$bindir"
	for dir in "$(pg_path pkglibdir)" "$(pg_path sharedir)"; do
		mkdir -p "$work/root$dir"
		cp -Rs "$dir/." "$work/root$dir"
		find "$work/root$dir" -name 'snapshot_store*' -prune -exec rm -rf {} +
	done
	PATH=$bindir:$PATH
}

# build VARIABLE=VALUE...: builds the extension and installs it into the private copy.
build() {
	make -s clean PG_CONFIG="$PG_CONFIG" "$@" &&
		make -s -j "$(nproc)" all PG_CONFIG="$PG_CONFIG" "$@" &&
		make -s install PG_CONFIG="$PG_CONFIG" DESTDIR="$work/root" "$@"
}

# start_server: starts the throw-away server, on a socket in $work, and on $listen_addresses if there are
# any, and waits for it. It goes down with this script.
start_server() {
	export PGHOST=$work PGPORT=${PGPORT:-5432} PGUSER=postgres PGDATABASE=postgres
	if [ ! -e "$work/data" ]; then
		initdb -D "$work/data" -U postgres -A trust -E UTF8 --no-locale --no-sync >>"$work/server.log" ||
			return
		cat >>"$work/data/postgresql.conf" <<-END
			listen_addresses = '${listen_addresses:-}'
			unix_socket_directories = '$work'
			max_prepared_transactions = 10
		END
		# Whoever is on this machine may come by TCP, and a superuser runs programs as who owns the server.
		cat >"$work/data/pg_hba.conf" <<-END
			local all all trust
			${listen_addresses:+host shop app,app_off,app_reader 127.0.0.1/32 trust}
		END
	fi
	setsid setpriv --pdeathsig QUIT postgres -D "$work/data" >>"$work/server.log" 2>&1 &
	server=$!
	until pg_isready -q; do
		if ! kill -0 "$server" 2>/dev/null; then
			tail "$work/server.log" >&2
			return 1
		fi
		sleep 0.1
	done
}

stop_server() {
	kill -QUIT "$server" || return 0
	wait "$server" || true
}
