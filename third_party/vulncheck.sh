#!/usr/bin/env bash
# Compares what the program calls with the Go vulnerability database:
#
#	third_party/vulncheck.sh [PACKAGE…]
#
# Fails where something that is called is known to be vulnerable. Where the database cannot be reached, which is not the
# fault of a change, it says so in one line and succeeds. VULN_DB names another database (file:///folder).
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- ./...
# shellcheck source=third_party/env.sh
. third_party/env.sh
readonly db=${VULN_DB:-https://vuln.go.dev}
if [ -z "${VULN_DB:-}" ] && # one that was asked for has to be there
	! why=$(python3 -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1] + "/index/db.json", timeout=20)' "$db" 2>&1); then
	echo "vulncheck: NOTHING WAS CHECKED, as $db cannot be reached: ${why##*$'\n'}" >&2
	exit 0
fi
go run -modfile=third_party/tools.mod golang.org/x/vuln/cmd/govulncheck -db "$db" "$@"
