#!/usr/bin/env bash
# Runs fuzz targets one after another and prints a line for each: executions, inputs that reached new code, findings.
#
#	third_party/fuzz.sh [FILTER]
#
# FILTER is an extended regular expression over "package Target". FUZZTIME is the time for each (default 10m), FUZZMEMORY
# the address space of each process in MiB (6144). Fails if there are findings; their inputs are where Go leaves them, in
# testdata/fuzz of the package, and stay there as seeds once the fault is mended.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=third_party/env.sh
. third_party/env.sh
export GOMAXPROCS=${GOMAXPROCS:-2}
ulimit -v $((${FUZZMEMORY:-6144} * 1024))
log=$(mktemp)
trap 'rm -f "$log"' EXIT
findings=0 targets=0
while read -r package target; do
	targets=$((targets + 1)) result=none
	# A new input is made smaller by ten attempts, not for a minute each, which would take nearly all of the time.
	if ! go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-10m}" -fuzzminimizetime 10x -parallel 1 -timeout 0 "./$package" >"$log" 2>&1; then
		findings=$((findings + 1)) result=FAILED
	fi
	read -r executions new < <(sed -n 's/^fuzz: elapsed: .*, execs: \([0-9]*\) .*new interesting: \([0-9]*\) .*/\1 \2/p' "$log" | tail -n 1) || true
	printf '%-24s %-18s %12s executions %5s new  findings: %s\n' "$package" "$target" "${executions:-0}" "${new:-0}" "$result"
	executions='' new=''
	[ "$result" = none ] || tail -n 40 "$log"
done < <(git grep -n '^func Fuzz' -- '*_test.go' | sed -E 's#^(.*)/[^/]+:[0-9]+:func (Fuzz[A-Za-z0-9]+).*#\1 \2#' | sort | grep -E "${1:-.}")
echo "$targets targets, $findings with findings"
[ "$targets" -gt 0 ] && [ "$findings" = 0 ]
