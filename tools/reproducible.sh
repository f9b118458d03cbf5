#!/usr/bin/env bash
# Builds what the image holds once more and compares it, byte by byte, with what `make image` has built: from what Docker would be given, in
# another folder, with another home of cargo, and in a shell of other habits.
# TARGET is cargo's target folder.
set -euo pipefail
cd "$(dirname "$0")/.."
first=${TARGET:-target}/image/root.tar.gz
[ -f "$first" ] || {
  printf 'reproducible: %s is missing: make image\n' "$first" >&2
  exit 1
}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# What .dockerignore lets through, as far as git knows it; .git is not among it.
mapfile -t context < <(sed -n 's/^!//p' .dockerignore)
git ls-files -z -- "${context[@]}" | xargs -0 cp --parents --target-directory "$folder"
# The tools are those of the first build, and the crates need not come over the network again.
ln -s "$PWD/.tools" "$folder/.tools"
mkdir -p "$folder/cargo/registry"
cp -r "${CARGO_HOME:-$HOME/.cargo}"/registry/{cache,index} "$folder/cargo/registry/"
second=$folder/image/root
(
  cd "$folder"
  export CARGO_HOME=$folder/cargo TZ=Asia/Shanghai LC_ALL=C.UTF-8
  umask 077
  TARGET_DIR=$folder/build tools/image.sh "$second"
)
cmp "$first" "$second.tar.gz" || {
  {
    diff --recursive --brief "${first%.tar.gz}" "$second" || true
    diff <(tar --list --verbose --file "$first") <(tar --list --verbose --file "$second.tar.gz") || true
  } >&2
  exit 1
}
printf 'reproducible: %s, built twice\n' "$(sha256sum "$second.tar.gz" | cut -c 1-64)"
