# shellcheck shell=bash
#
# What test/machines, test/matrix and test/packages share: chroots in memory, with their own processes,
# mounts and shared memory, all of which the kernel takes away at the end, whatever ends it. As it was
# called, such a script starts itself again, as the first process of namespaces of its own.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

# shellcheck source=/dev/null
own_release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
room=/mnt
root=$room/chroot
output=$room/output
passed=0
failed=0

# own_namespaces ARGUMENT...: those of the script.
own_namespaces() {
	local status=0
	if [ -n "${SNAPSHOT_STORE_NAMESPACES:-}" ]; then
		cd "$source_dir" # also when something is mounted above it
		mount -t tmpfs -o mode=755 room "$room"
		mkdir "$root"
		return
	fi
	[ "$(id -u)" = 0 ] || die "only root can make chroots"
	command -v debootstrap >/dev/null || { apt_get update && apt_get install --no-install-recommends debootstrap; }
	SNAPSHOT_STORE_NAMESPACES=1 setpriv --pdeathsig KILL unshare --mount --pid --ipc --fork --kill-child \
		--mount-proc "$0" "$@" </dev/null &
	trap 'kill -KILL %1 2>/dev/null || true' EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	wait %1 || status=$?
	exit "$status"
}

# sources RELEASE: where this machine has its packages from, as lines of a sources.list, for that
# release.
sources() {
	# shellcheck disable=SC2016
	apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
		sort -u | grep -E "^deb [^ ]+ $own_release(-updates|-security)? " | sed "s/ $own_release/ $1/"
}

mirror() {
	sources "$own_release" | awk -v release="$own_release" '$3 == release { print $2; exit }'
}

# bootstrap FOLDER ARGUMENT...: the smallest installation in the folder, by debootstrap with these
# arguments.
bootstrap() {
	local http_proxy=
	eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
	export http_proxy
	debootstrap --variant=minbase "${@:2}" || return
	apt-config dump Acquire | grep -v IndexTargets >"$1/etc/apt/apt.conf.d/machine"
	echo "127.0.0.1 localhost $(hostname)" >"$1/etc/hosts"
	# The network is that of the machine outside: a cluster shall take no port of it.
	mkdir -p "$1/etc/postgresql-common/createcluster.d"
	echo "listen_addresses = ''" >"$1/etc/postgresql-common/createcluster.d/machine.conf"
}

# mount_chroot: what the kernel has for $root.
mount_chroot() {
	mount -t proc proc "$root/proc"
	mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
	mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
}

# inside COMMAND: as root, in the chroot.
inside() {
	chroot "$root" su -l root -c "$1" </dev/null
}

add_package() {
	inside "apt-get -qq update &&
		DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install $1"
}

# copy_project FOLDER
copy_project() {
	mkdir "$root$1"
	tar --exclude=./.git -cf - . | tar -C "$root$1" --no-same-owner -xf -
}

remove_chroot() {
	local process
	for process in /proc/[0-9]*; do
		[ ! "$process/root" -ef "$root" ] || kill -KILL "${process#/proc/}"
	done 2>/dev/null
	wait
	umount --recursive --lazy "$root"
}

# check NAME COMMAND...: runs it in the chroot of this $kind; sets $result. The command may give a
# better $name.
check() {
	local begin=$SECONDS name=$1
	result=failed
	if "${@:2}" >"$output" 2>&1; then
		passed=$((passed + 1))
		result=passed
	else
		failed=$((failed + 1))
	fi
	printf '%-13s  %-28s  %4d s  %s\n' "$kind" "$name" $((SECONDS - begin)) \
		"$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$output" || echo "$result")"
	[ "$result" != failed ] || { grep -A 40 FAILED "$output" || tail -n 100 "$output"; } | sed 's/^/    /'
}

# summary: the last lines; did all pass?
summary() {
	echo "in $SECONDS s:"
	echo "$passed passed, $failed failed"
	[ "$passed" -gt 0 ] && [ "$failed" = 0 ]
}
