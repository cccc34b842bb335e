#!/usr/bin/env bash
# All tests, in two halves side by side: those on a whole cluster, which mostly wait, and all others, which mostly compute and give way.
#
#   tools/suite.sh .venv/bin/pytest
set -euo pipefail

pytest=(env --default-signal=INT,QUIT,HUP "$@") # a shell has them ignored in what it starts in the background
log=$(mktemp)
trap 'rm -f "$log"; kill "$others" 2>/dev/null || true' EXIT
nice -n 10 "${pytest[@]}" -m "not node" >"$log" 2>&1 &
others=$!
failed=0
"${pytest[@]}" -m node || failed=1
wait "$others" || failed=1
echo "--- beside it, without a whole cluster:"
cat "$log"
exit "$failed"
