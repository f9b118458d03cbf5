#!/usr/bin/env bash
# Makes the profile that tools/release.sh compiles by: a binary that counts does what the benchmarks ask of it.
# TARGET is cargo's target folder.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'profile: %s\n' "$*" >&2; }
# shellcheck source=tools/rustc.sh
. tools/rustc.sh

# Counts can be read by the tools of rustc's own LLVM.
llvm=$(of_rustc 'LLVM version')
llvm=${llvm%%.*}
tools/install.sh "llvm-$llvm"

folder=$(realpath -m "${TARGET:-target}/profile")
INSTRUMENT=$folder/counts TARGET_DIR=$folder tools/release.sh
# What ran to build it has counted, too.
rm -rf "$folder/counts"

say "sends and uploads of every kind; how fast they are says nothing here"
BENCH_GATEWAY=$folder/release/easemob-gateway cargo bench --locked --profile dev --bench send -- \
  quick policies collector recipients streams uploads
mkdir -p pgo
"llvm-profdata-$llvm" merge --sparse --output="$profile" "$folder"/counts/*.profraw
say "$(stat -c %s "$profile") bytes in $profile"
