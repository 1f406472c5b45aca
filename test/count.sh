# shellcheck shell=bash
#
# What scripts/test, test/clients/run and test/citus/run share: tests are run, counted and told in a line each.

passed=0
failed=0
output=${work:?}/output

# timed COMMAND...: runs it with its output in $output; sets $status and $seconds.
timed() {
	local begin=${EPOCHREALTIME/./} end
	status=0
	"$@" >"$output" 2>&1 </dev/null || status=$?
	end=${EPOCHREALTIME/./}
	seconds=$(((end - begin) / 1000000)).$(((end - begin) / 100000 % 10))
}

# count KIND NAME PATH PASSED FAILED: adds up and prints a line, and $output after a failure, but for what passed.
count() {
	passed=$((passed + $4))
	failed=$((failed + $5))
	printf '%-9s  %-24s  %-10s  %6s s  %5d passed' "$1" "$2" "$3" "$seconds" "$4"
	if [ "$5" = 0 ]; then
		echo
	else
		printf ', %d FAILED\n' "$5"
		sed '/^ok [0-9]/d; s/^/    /' "$output"
	fi
}

# check KIND NAME PATH COMMAND...: a test that passes or fails as a whole.
check() {
	timed "${@:4}"
	if [ "$status" = 0 ]; then
		count "$1" "$2" "$3" 1 0
	else
		count "$1" "$2" "$3" 0 1
	fi
}

# tap KIND NAME PATH COMMAND...: a test that prints TAP.
tap() {
	local ok not_ok
	timed "${@:4}"
	ok=$(grep -E '^ok [0-9]' "$output" | grep -civE '# *(SKIP|TODO)\b' || true)
	not_ok=$(grep -E '^not ok [0-9]' "$output" | grep -civE '# *TODO\b' || true)
	if [ "$not_ok" = 0 ] && { [ "$status" != 0 ] || ! grep -qE '^(ok [0-9]|1\.\.0|Result: NOTESTS)' "$output"; }; then
		not_ok=1
	fi
	count "$1" "$2" "$3" "$ok" "$not_ok"
	# What was left out and why, and what torture went through.
	[ "$not_ok" != 0 ] || sed -nE 's/^(.* \.\. skipped:|ok [0-9].*# *skip\w*:?)/             skipped:/Ip
		s/^# counted: /             /p' "$output" | uniq
}
