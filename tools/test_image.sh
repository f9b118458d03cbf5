#!/usr/bin/env bash
# Tries out what `tools/image.sh` has built, in a network of its own: it needs root, or namespaces for users.
# TARGET is cargo's target folder.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${TARGET:-target}
mkdir -p "$target/test"

tools/install.sh python rust-audit-info

as=()
if ! unshare --net true 2>/dev/null; then
  as=(--map-root-user)
  unshare --map-root-user --net true || {
    printf 'image: neither root nor namespaces for users are to be had here, and the image cannot be tried without\n' >&2
    exit 1
  }
fi
status=0
IMAGE_ROOT=$target/image/root unshare "${as[@]}" --net .tools/venv/bin/python -B -m pytest \
  -p no:cacheprovider --color=no -s tests/image 2>&1 | tee "$target/test/image.txt" || status=$?
grep -E '^=+ .*(passed|failed|error).* =+$' "$target/test/image.txt" >>"$target/test/closing.txt" || true
exit $status
