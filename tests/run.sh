#!/usr/bin/env bash
# Run all levels of the tests: each in a process of its own, in two lanes at a time, since most tests wait for servers.
# A test that fails is tried once more, in a process of its own, and must pass there. When a signal ends the process itself
# (a segmentation fault in native code was seen once), its level is run once more as a whole.
# The lane in the background writes into a file, which is printed at the end; the lane that failed is printed last.
set -uo pipefail
cd "$(dirname "$0")/.."
out=.brain2/tests
mkdir -p "$out"

lane() {
  local level run ended
  for level in "$@"; do
    run=(.venv/bin/python -m pytest "tests/$level" -o "cache_dir=$out/cache-$level")
    "${run[@]}"
    ended=$?
    if ((ended >= 128)); then
      "${run[@]}" || return 1
    elif ((ended == 1)); then
      "${run[@]}" --last-failed --last-failed-no-failures=none || return 1
    elif ((ended != 0)); then
      return 1
    fi
  done
}

set -m # each lane is a process group, so that its servers end with it
(lane unit contract integration 2>&1 | tee "$out/front.log") &
front=$!
lane e2e chaos fuzz >"$out/back.log" 2>&1 &
back=$!
set +m
trap 'kill -- -"$front" -"$back" 2>/dev/null' EXIT
trap 'exit 130' INT TERM

wait "$front"
failed=$?
wait "$back"
failed_back=$?
cat "$out/back.log"
((failed == 0)) || { tail -n 60 "$out/front.log"; exit "$failed"; }
exit "$failed_back"
