#!/usr/bin/env bash
# Fails if the proto files break callers: compared with the last release (the one before it, where this is one), or, before there
# is any, with the last commit (the one before it, where proto/ is as committed).
set -euo pipefail
cd "$(dirname "$0")/.."

# What is as committed is compared with what came before: a release with itself would never differ.
before=HEAD
if git diff --quiet HEAD -- proto; then
  before=HEAD^
fi
git rev-parse --verify --quiet "$before" >/dev/null || {
  printf 'buf breaking: a history of one commit has nothing to compare with: clone deeper\n' >&2
  exit 1
}
base=$(git describe --tags --abbrev=0 --match 'v[0-9]*' "$before" 2>/dev/null || printf %s "$before")
printf 'buf breaking: against %s\n' "$base"
# Out of git by itself: buf would clone, and cannot do that from every kind of checkout.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git archive "$base" buf.yaml proto | tar -x -C "$copy"
.tools/npm/node_modules/.bin/buf breaking --against "$copy"
