#!/usr/bin/env bash
# Builds what the image holds: the static binary, the certificate authorities, and nothing else. The Dockerfile runs it,
# and so does the test that starts the binary in an empty root.
#
# tools/image.sh FOLDER: the root of the file system goes to FOLDER, and to FOLDER.tar.gz as the image's layer would have it.
# TARGET_DIR keeps the build, for the next one.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'image: %s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 1
}

[ $# -eq 1 ] || fail "usage: tools/image.sh FOLDER"
root=$1
[ ! -e "$root" ] || [ -z "$(ls -A "$root")" ] || fail "$root is not empty"
target=$(uname -m)-unknown-linux-musl
target_dir=$(realpath -m "${TARGET_DIR:-target/image}")
authorities=/etc/ssl/certs/ca-certificates.crt

[ -f $authorities ] || fail "$authorities is missing: install ca-certificates"
command -v musl-gcc >/dev/null || tools/install.sh musl
rustc --print target-libdir --target "$target" | xargs -I{} test -d {} || {
  say "rustup target add $target"
  rustup target add "$target" >&2
}

# The same sources, compilers and authorities make the same bytes, wherever and whenever: no time of the build stands in them, and
# paths of the machine are taken out. `make reproducible` compares.
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH=$epoch
home=${CARGO_HOME:-$HOME/.cargo}
# Of several that fit, the last one counts.
maps=("$PWD=." "$home=cargo" "$target_dir=target")
export RUSTFLAGS="${maps[*]/#/--remap-path-prefix=}"
export CFLAGS="${maps[*]/#/-ffile-prefix-map=}"
# As `make build` does: the binary carries the list of its dependencies.
tools/install.sh cargo-auditable
.tools/bin/cargo-auditable auditable build --locked --release --target "$target" --target-dir "$target_dir" >&2

install -D -m 755 "$target_dir/$target/release/easemob-gateway" "$root/usr/bin/easemob-gateway"
install -D -m 644 $authorities "$root$authorities"
# Where the sandbox keeps uploaded files, if no volume is mounted there.
install -d -m 1777 "$root/tmp"
find "$root" -exec touch --no-dereference --date="@$epoch" {} +
tar --create --directory="$root" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$epoch" . | gzip -n -9 >"$root.tar.gz"
say "$(stat -c %s "$root.tar.gz") bytes compressed, $(sha256sum "$root/usr/bin/easemob-gateway" | cut -c 1-64) binary"
