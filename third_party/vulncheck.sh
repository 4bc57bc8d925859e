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
status=0
said=$(go run -modfile=third_party/tools.mod golang.org/x/vuln/cmd/govulncheck -db "$db" "$@" 2>&1) || status=$?
case ${VULN_DB:-}$said in # one that was asked for has to be there
'govulncheck: fetching vulnerabilities: '*)
	echo "vulncheck: NOTHING WAS CHECKED, as $db cannot be reached: ${said##*fetching vulnerabilities: }" | head -n 1 >&2
	exit 0
	;;
esac
printf '%s\n' "$said"
exit "$status"
