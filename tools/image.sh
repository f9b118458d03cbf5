#!/usr/bin/env bash
# Builds what the image holds: the binary, the C library that it runs on, the certificate authorities, and nothing else. The
# Dockerfile runs it, and so does the test that starts the binary in a root of its own.
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
target_dir=$(realpath -m "${TARGET_DIR:-target}")
authorities=/etc/ssl/certs/ca-certificates.crt
[ -f $authorities ] || fail "$authorities is missing: install ca-certificates"

epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
SOURCE_DATE_EPOCH=$epoch TARGET_DIR=$target_dir tools/release.sh >&2

binary=$target_dir/release/easemob-gateway
install -D --strip -m 755 "$binary" "$root/usr/bin/easemob-gateway"
# glibc rather than musl: what it does with memory alone makes a send a tenth cheaper. Its loader, and what that loads.
libraries=$(ldd "$binary" | grep -oE '/[^ ]+\.so[^ ]*')
for library in $libraries; do
  install -D -m 755 "$library" "$root$library"
done
install -D -m 644 $authorities "$root$authorities"
# Where the sandbox keeps uploaded files, if no volume is mounted there.
install -d -m 1777 "$root/tmp"
find "$root" -exec touch --no-dereference --date="@$epoch" {} +
tar --create --directory="$root" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$epoch" . | gzip -n -9 >"$root.tar.gz"
say "$(stat -c %s "$root.tar.gz") bytes compressed, $(sha256sum "$root/usr/bin/easemob-gateway" | cut -c 1-64) binary"
