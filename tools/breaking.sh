#!/usr/bin/env bash
# Fails if the proto files break callers: compared with the last release, or, before there is one, with the
# last commit (the one before it, where proto/ is as committed).
set -euo pipefail
cd "$(dirname "$0")/.."

if base=$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null); then
  :
elif ! git diff --quiet HEAD -- proto; then
  base=HEAD
elif base=$(git rev-parse --verify --quiet HEAD^); then
  :
else
  printf 'buf breaking: a history of one commit has nothing to compare with: clone deeper\n' >&2
  exit 1
fi
printf 'buf breaking: against %s\n' "$base"
# Out of git by itself: buf would clone, and cannot do that from every kind of checkout.
before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT
git archive "$base" buf.yaml proto | tar -x -C "$before"
.tools/npm/node_modules/.bin/buf breaking --against "$before"
