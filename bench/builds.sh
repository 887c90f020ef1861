#!/usr/bin/env bash
# Builds the server of hello world in three ways, and measures them against the floor in one run: as the
# workspace builds it, for the processor of this machine alone, and guided by a profile of its own load.
#
#   bench/builds.sh [ARGS OF COMPARE...]
#
# Takes a quarter of an hour, nearly all of it to build. The guided build wants an `llvm-profdata` that reads
# what rustc's LLVM writes: that of `rustup component add llvm-tools`, or one from a package that is about
# as new (llvm-19 does for Rust 1.95); LLVM_PROFDATA names another.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(realpath -m "${CARGO_TARGET_DIR:-target}/builds")
if [[ $folder == *[[:space:]]* ]]; then
    echo "$0: $folder: a path with blanks cannot be passed on; set CARGO_TARGET_DIR" >&2
    exit 1
fi
sysroot=$(rustc --print sysroot)
candidates=("${LLVM_PROFDATA:-}" "$sysroot"/lib/rustlib/*/bin/llvm-profdata
    llvm-profdata-{25,24,23,22,21,20,19} llvm-profdata)
profdata=
for candidate in "${candidates[@]}"; do
    if [[ -n $candidate ]] && command -v "$candidate" >/dev/null; then
        profdata=$candidate
        break
    fi
done
if [[ -z $profdata ]]; then
    echo "$0: no llvm-profdata; rustup component add llvm-tools, or apt-get install llvm-19" >&2
    exit 1
fi

# build NAME RUSTFLAGS
build() {
    echo "== build: $1 ($2)" >&2
    RUSTFLAGS=$2 CARGO_TARGET_DIR=$folder/$1 cargo build --quiet --release -p snapback-bench
}

build plain ""
build native "-C target-cpu=native"
build instrumented "-C profile-generate=$folder/profile"

# The load that the guided build is for: one client, many, and pipelining.
rm -rf "$folder/profile"
server=
trap '[[ -z $server ]] || kill "$server" 2>/dev/null || true' EXIT
for load in "" "--connections 64" "--connections 16 --pipeline 16"; do
    fifo=$(mktemp -u)
    mkfifo "$fifo"
    "$folder/instrumented/release/snapback-bench" serve hello --poll-mode blocking \
        --listen 127.0.0.1:0 >"$fifo" &
    server=$!
    read -r _ _ address <"$fifo"
    rm "$fifo"
    # shellcheck disable=SC2086  # It holds several words.
    "$folder/plain/release/snapback-bench" load "http://$address/my_api" --duration 8s $load >&2
    # The profile is written at an orderly end.
    kill -TERM "$server"
    wait "$server"
    server=
done
"$profdata" merge -o "$folder/merged.profdata" "$folder/profile"
build guided "-C profile-use=$folder/merged.profdata"

against=()
for name in plain native guided; do
    against+=(--against "$name=$folder/$name/release/snapback-bench serve hello --listen 127.0.0.1:0 \
--cores {core} --poll-mode blocking")
done
exec "$folder/plain/release/snapback-bench" compare --scenarios single,c64,pipeline16 "${against[@]}" "$@"
