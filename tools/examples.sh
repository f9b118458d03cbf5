#!/usr/bin/env bash
# Builds the examples, runs the golden script of each against a gateway of its own, and compares what they
# print: tools/examples.sh [LANGUAGE…], all five by default. A toolchain that is missing is an error.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
target=${CARGO_TARGET_DIR:-$root/target}
gateway=${EASEMOB_GATEWAY_BIN:-$target/debug/easemob-gateway}
golden=$root/examples/golden.txt
work=$target/test/examples
# The plugins of the examples are run by buf.
export PATH="$root/.tools/npm/node_modules/.bin:$PATH"

need() {
  command -v "$1" >/dev/null || {
    printf 'examples: %s is missing, which the example in %s needs\n' "$1" "$2" >&2
    exit 1
  }
}

build_python() {
  PYTHON=$root/.tools/venv/bin/python examples/python/generate.sh
}
run_python() {
  cd examples/python && PYTHONPATH=src:gen "$root/.tools/venv/bin/python" -B -m easemob_example.golden "$@"
}

build_node() {
  need npm node
  (cd examples/node && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error >&2 &&
    npm run --silent build)
}
run_node() {
  cd examples/node && node dist/src/golden.js "$@"
}

build_go() {
  need go go
  (cd examples/go && go generate . && go build -buildvcs=false -o "$work/go" .)
}
run_go() {
  cd examples/go && "$work/go" "$@"
}

build_java() {
  need mvn java
  need java java
  (cd examples/java && mvn --batch-mode --no-transfer-progress --quiet compile \
    dependency:build-classpath -Dmdep.outputFile=target/classpath >&2)
}
run_java() {
  cd examples/java && java -cp "target/classes:$(cat target/classpath)" com.example.easemob.Golden "$@"
}

build_rust() {
  need cargo rust
  CARGO_TARGET_DIR=$target/examples cargo build --quiet --locked --manifest-path examples/rust/Cargo.toml
}
run_rust() {
  cd examples/rust && "$target/examples/debug/easemob-gateway-example" "$@"
}

# A gateway with TLS and a caller's key, on free ports; the rest is a command for it.
with_gateway() {
  local pid log=$work/gateway.txt port status=0
  rm -f "$log"
  "$gateway" dev --secure "$work/secure" --listen 127.0.0.1:0 --operations-listen 127.0.0.1:0 \
    --sandbox-listen 127.0.0.1:0 --log warn >"$log" &
  pid=$!
  # It prints its addresses once it listens.
  until grep -qs 'Ctrl-C' "$log"; do
    kill -0 "$pid" || return 1
    sleep 0.1
  done
  port=$(sed -n 's/^gRPC *127.0.0.1:\([0-9]*\)$/\1/p' "$log")
  (
    export EASEMOB_GATEWAY_URL=https://localhost:$port EASEMOB_GATEWAY_CA=$work/secure/ca.crt
    export EASEMOB_GATEWAY_KEY_FILE=$work/secure/key
    "$@"
  ) || status=$?
  kill "$pid"
  wait "$pid" || true
  return $status
}

[ $# -gt 0 ] || set -- python node go java rust
mkdir -p "$work"
passed=0 failed=0
for language in "$@"; do
  [ -d "examples/$language" ] || {
    printf 'examples: there is none in %s\n' "$language" >&2
    exit 1
  }
  printf 'examples: %s\n' "$language"
  "build_$language"
  if with_gateway "run_$language" golden >"$work/$language.txt" && diff -u "$golden" "$work/$language.txt"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
  fi
done
printf 'examples: %d passed, %d failed\n' $passed $failed
[ $failed -eq 0 ]
