#!/usr/bin/env bash
# Builds the binary as it is released. `make build`, `make bench` and the image all have this one: what is measured is what runs.
# Its dependencies are listed within, and the names of functions are left in, for perf and callgrind; the image goes without.
#
# TARGET_DIR is cargo's target folder; what RUSTFLAGS and CFLAGS say counts for nothing here. INSTRUMENT=FOLDER builds one that counts what it does, for `make profile`.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'release: %s\n' "$*" >&2; }

# shellcheck source=tools/rustc.sh
. tools/rustc.sh
target_dir=$(realpath -m "${TARGET_DIR:-target}")

# The same sources, compilers and libraries make the same bytes, wherever and whenever: no time of the build stands in them, and
# paths of the machine are taken out. `make reproducible` compares.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
# Of several that fit, the last one counts.
maps=("$PWD=." "${CARGO_HOME:-$HOME/.cargo}=cargo" "$target_dir=target")
flags=("${maps[@]/#/--remap-path-prefix=}")
export CFLAGS="${maps[*]/#/-ffile-prefix-map=}"

# What is called often is laid out and inlined for speed. A function that has changed since the profile was made is compiled as if there
# were none.
if [ -n "${INSTRUMENT:-}" ]; then
  flags+=("-Cprofile-generate=$INSTRUMENT")
elif [ -f "$profile" ]; then
  # Another profile has another name, so that cargo builds anew with it, and with no other.
  copy=$target_dir/$(sha256sum "$profile" | cut -c 1-16).profdata
  [ -f "$copy" ] || install -D -m 644 "$profile" "$copy"
  flags+=("-Cprofile-use=$copy")
else
  say "$profile is not there, and the binary slower for it: make profile"
fi
CARGO_ENCODED_RUSTFLAGS=$(
  IFS=$'\x1f'
  printf '%s' "${flags[*]}"
)
export CARGO_ENCODED_RUSTFLAGS

tools/install.sh cargo-auditable
CARGO=$PWD/tools/cargo.sh PATH=$PWD/.tools/bin:$PATH \
  exec cargo-auditable auditable build --locked --release --target-dir "$target_dir"
