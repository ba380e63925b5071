#!/usr/bin/env bash
# Run all levels of the tests: each in a process of its own, in three lanes at a time, since most tests wait for servers.
# A test that fails is tried once more, in a process of its own, and must pass there. When a signal ends the process itself
# (a segmentation fault in native code was seen once), its level is run once more as a whole.
# Each lane writes into a file. That of the longest is shown as it grows, the others at the end; those that failed come last.
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

# The pid and the output of each lane. Each is a process group, so that its servers end with it.
pids=() logs=()
start() {
  logs+=("$out/$1.log")
  : >"${logs[-1]}" # so that it is there when it is to be shown
  lane "$@" >>"${logs[-1]}" 2>&1 &
  pids+=($!)
}

set -m
start unit contract fuzz
start e2e chaos
start integration
set +m
trap 'kill -- "${pids[@]/#/-}" 2>/dev/null' EXIT
trap 'exit 130' INT TERM
tail -f -n +1 --pid "${pids[-1]}" "${logs[-1]}" &
shown=$!

failed=()
for number in "${!pids[@]}"; do
  wait "${pids[number]}" || failed+=("$number")
done
wait "$shown"
for number in "${!pids[@]}"; do
  ((number == ${#pids[@]} - 1)) || cat "${logs[number]}"
done
for number in "${failed[@]}"; do
  tail -n 60 "${logs[number]}"
done
((${#failed[@]} == 0))
