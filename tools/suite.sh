#!/usr/bin/env bash
# All tests, in two halves side by side: those on a whole cluster, which mostly wait, and all others, which mostly compute. The others get
# the processor when nobody else wants it (SCHED_IDLE, sched(7)): beside an equal, kube-proxy is late, and requests are lost that it counts.
#
#   tools/suite.sh .venv/bin/pytest
set -euo pipefail

log=$(mktemp)
trap 'rm -f "$log"; kill -INT "$others" 2>/dev/null || true' EXIT
set -- env --default-signal=INT,QUIT,HUP "$@" # what a shell has run beside it ignores them, and so would all that it starts
behind=(chrt --idle 0)
"${behind[@]}" true 2>/dev/null || behind=(nice -n 19) # a sandbox may not allow it
"${behind[@]}" "$@" -m "not node" >"$log" 2>&1 &
others=$!
failed=0
"$@" -m node || failed=1
echo "--- beside it, without a whole cluster:"
tail -f --pid="$others" --lines=+1 "$log"
wait "$others" || failed=1
exit "$failed"
