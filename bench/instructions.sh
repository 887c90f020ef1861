#!/usr/bin/env bash
# Counts the instructions that a server spends on one request in user space, the same each time.
#
#   bench/instructions.sh PROGRAM ARGS...
#
# The program must print `listening on ADDRESS`, serve until SIGTERM and sleep while it waits (a
# spinning server's count depends on the time). It runs twice under callgrind, for N and for 2 N
# requests; starting and stopping cancel out in the difference. The environment may set N, LOAD (more
# arguments for the load, such as `--pipeline 16`) and SNAPBACK_BENCH (the load's program).
set -euo pipefail

if [ $# -eq 0 ]; then
    echo "usage: $0 PROGRAM ARGS..." >&2
    exit 2
fi
if ! command -v valgrind >/dev/null; then
    echo "$0: valgrind is not installed; apt-get install valgrind" >&2
    exit 1
fi
here=$(cd "$(dirname "$0")" && pwd)
bench=${SNAPBACK_BENCH:-$here/../target/release/snapback-bench}
n=${N:-20000}
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT

# Prints the instructions of one life of the server with so many requests in it.
count() {
    local requests=$1 out=$folder/$1.out log=$folder/$1.log address
    shift
    mkfifo "$folder/said"
    valgrind --tool=callgrind --callgrind-out-file="$out" "$@" >"$folder/said" 2>"$log" &
    server=$!
    exec 3<"$folder/said"
    while read -r -u 3 line; do
        case $line in "listening on "*) break ;; esac
    done
    address=${line#listening on }
    address=${address%% *}
    case $address in
        unix:*) url=$address:/my_api ;;
        *) url=http://$address/my_api ;;
    esac
    # shellcheck disable=SC2086  # LOAD holds several words.
    if ! "$bench" load "$url" --count "$requests" --duration 120s --poll-mode blocking ${LOAD:-} \
        >"$folder/load" 2>&1; then
        cat "$folder/load" "$log" >&2
        exit 1
    fi
    kill -TERM "$server"
    # A server that leaves by the signal itself is as good as one that exits.
    wait "$server" || true
    server=
    exec 3<&-
    rm "$folder/said"
    total=$(awk '$1 == "summary:" || $1 == "totals:" { sum = $2 } END { print sum }' "$out")
}

count "$n" "$@"
once=$total
count $((2 * n)) "$@"
awk -v once="$once" -v twice="$total" -v n="$n" \
    'BEGIN { printf "%.1f instructions per request\n", (twice - once) / n }'
