#!/usr/bin/env bash
# Builds an example as its readers would, and runs what was built: tools/examples.sh build|run LANGUAGE.
# A toolchain that is missing is an error.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
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
  cd examples/python && PYTHONPATH=src:gen exec "$root/.tools/venv/bin/python" -B -m easemob_example.golden "$@"
}

build_node() {
  need npm node
  (cd examples/node && npm install --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error >&2 &&
    npm run --silent build)
}
run_node() {
  cd examples/node && exec node dist/src/golden.js "$@"
}

build_web() {
  need npm web
  (cd examples/web && npm install --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error >&2 &&
    npm run --silent build >&2)
}
run_web() {
  cd examples/web && exec npm start "$@"
}

build_go() {
  need go go
  (cd examples/go && go generate . && go build -buildvcs=false -o "$work/go" .)
}
run_go() {
  cd examples/go && exec "$work/go" "$@"
}

build_java() {
  need mvn java
  need java java
  (cd examples/java && mvn --batch-mode --no-transfer-progress --quiet compile \
    dependency:build-classpath -Dmdep.outputFile=target/classpath >&2)
}
run_java() {
  cd examples/java && exec java -cp "target/classes:$(cat target/classpath)" com.example.easemob.Golden "$@"
}

build_rust() {
  need cargo rust
  CARGO_TARGET_DIR=$target/examples cargo build --quiet --locked --manifest-path examples/rust/Cargo.toml
}
run_rust() {
  cd examples/rust && exec "$target/examples/debug/easemob-gateway-example" "$@"
}

usage() {
  printf 'usage: tools/examples.sh build LANGUAGE | run LANGUAGE [ARGUMENT…]\n' >&2
  exit 1
}

[ $# -ge 2 ] || usage
what=$1 language=$2
shift 2
[ -d "examples/$language" ] || usage
mkdir -p "$work"
case $what in
  build) "build_$language" ;;
  run) "run_$language" "$@" ;;
  *) usage ;;
esac
