#!/usr/bin/env bash
# Runs all tests: Rust's, then those of independent clients against the binary that these built.
# The closing lines of both runners stand at the end, and in target/test/closing.txt.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
logs=$target/test
mkdir -p "$logs"
rm -f "$logs"/*.txt

tools/install.sh python buf grpc-js otelcol promtool chromium redis helm helm-docs crds

status=0
cargo test --locked --no-fail-fast 2>&1 | tee "$logs/cargo.txt" || status=$?

# The binary of the tests above, and not one of `cargo build`: that has other features of its
# dependencies and would build half the tree again.
if [ $status -eq 0 ]; then
  EASEMOB_GATEWAY_BIN=$target/debug/easemob-gateway .tools/venv/bin/python -B -m pytest \
    -p no:cacheprovider --color=no tests/python 2>&1 | tee "$logs/python.txt" || status=$?
  EASEMOB_GATEWAY_BIN=$target/debug/easemob-gateway .tools/venv/bin/python -B -m pytest \
    -p no:cacheprovider --color=no tests/chart 2>&1 | tee "$logs/chart.txt" || status=$?
fi

for log in "$logs"/*.txt; do
  # A run of no tests, such as that of an empty doc-test suite, says nothing.
  grep -E '^test result: |^=+ .*(passed|failed|error).* =+$' "$log" | grep -v ' 0 passed; 0 failed' || true
done >"$logs/closing"
mv "$logs/closing" "$logs/closing.txt"
printf '\n'
cat "$logs/closing.txt"
exit $status
