# What people and CI run. `make` alone tells.

MAKEFLAGS += --no-print-directory
# The targets share target/ and .tools/.
.NOTPARALLEL:
.DEFAULT_GOAL := help

BUF := .tools/npm/node_modules/.bin/buf
PYTHON := .tools/venv/bin/python
DENY := .tools/bin/cargo-deny
CYCLONEDX := .tools/bin/cargo-cyclonedx
TARGET := $(or $(CARGO_TARGET_DIR),target)
HADOLINT := .tools/venv/bin/hadolint
RELEASED := $(abspath $(TARGET))/release/easemob-gateway
SCRIPTS := .ci/run $(wildcard tools/*.sh benches/*.sh)

.PHONY: help
help: ## tells what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## builds the binary as it is released, its list of dependencies within
	@TARGET_DIR=$(TARGET) tools/release.sh

.PHONY: profile
profile: ## writes what the release is compiled by to pgo/: how often what is called (about a quarter of an hour)
	@TARGET=$(TARGET) tools/profile.sh

.PHONY: man
man: ## writes man pages to target/man
	cargo run --locked --quiet -- man $(TARGET)/man

.PHONY: sbom
sbom: ## writes the dependencies as an SBOM (CycloneDX): target/sbom.json
	@tools/install.sh cargo-cyclonedx
	$(CYCLONEDX) cyclonedx --quiet --format json --spec-version 1.5 --target all --override-filename sbom
	@mkdir -p $(TARGET) && mv sbom.json $(TARGET)/sbom.json

.PHONY: audit
audit: build sbom ## compares Cargo.lock, the SBOM and the list within the binary
	@tools/install.sh rust-audit-info
	@python3 tools/dependencies.py $(TARGET)/sbom.json $(RELEASED)

.PHONY: test
test: ## runs all tests, and installs what they need (LANGS='go java': examples in these alone)
	@EXAMPLES='$(LANGS)' tools/test.sh

.PHONY: lint
lint: ## checks layout, Rust, proto files, licences, scripts and the Dockerfile
	@tools/install.sh shellcheck buf cargo-deny python
	cargo fmt --check
	cargo fmt --check --manifest-path benches/bare/Cargo.toml
	shellcheck -x $(SCRIPTS)
	$(HADOLINT) --failure-threshold info Dockerfile
	$(BUF) lint
	tools/breaking.sh
	$(PYTHON) tools/api.py --check
	$(DENY) --locked check bans licenses sources
	cargo clippy --locked --all-targets -- -D warnings

.PHONY: api
api: ## writes docs/api.md from the comments of the proto files
	@tools/install.sh buf python
	$(PYTHON) tools/api.py

.PHONY: format
format: ## lays out the Rust files
	cargo fmt

.PHONY: image
image: ## builds what the image holds, in target/image/root, and tries it out: no Docker is needed
	@rm -rf $(TARGET)/image/root $(TARGET)/image/root.tar.gz
	@TARGET_DIR=$(TARGET) tools/image.sh $(abspath $(TARGET))/image/root
	@TARGET=$(TARGET) tools/test_image.sh

.PHONY: reproducible
reproducible: image ## builds what the image holds twice, in two folders, and compares every byte (about ten minutes)
	@TARGET=$(TARGET) tools/reproducible.sh

.PHONY: chart-docs
chart-docs: ## writes the chart's README from its values
	@tools/install.sh helm-docs
	.tools/bin/helm-docs --chart-search-root=helm/easemob-gateway --sort-values-order=file

.PHONY: soak
soak: ## runs the tests that take long: load, faults and attacks (ARGS='name' picks some)
	@tools/install.sh redis
	SOAK=1 cargo test --locked --release --test it -- $(ARGS)

.PHONY: bench
bench: build ## measures what sends and uploads cost, in half an hour once built (ARGS=quick: a short look)
	@tools/install.sh valgrind curl h2load redis
	BENCH_GATEWAY=$(RELEASED) cargo bench --locked --bench send $(if $(ARGS),-- $(ARGS))

.PHONY: fleet
fleet: ## runs the model of a fleet at a hundred times the default quota, over a real Redis (ARGS=quick: a short look)
	@tools/install.sh redis
	cargo bench --locked --bench fleet $(if $(ARGS),-- $(ARGS))
.PHONY: bench-docs
bench-docs: ## puts the last report of `make bench` and its plots into docs/performance.md
	@python3 tools/performance.py $(TARGET)

.PHONY: micro
micro: ## measures the steps of a send, each by itself (ARGS=quota picks some)
	cargo bench --locked --bench micro $(if $(ARGS),-- $(ARGS))

# The load generator is a debug build: what counts is what it is pointed at.
.PHONY: guard
guard: build ## counts the instructions of a send of the released binary, and fails where they are too many
	@tools/install.sh valgrind
	BENCH_GATEWAY=$(RELEASED) cargo bench --locked --profile dev --bench send -- guard

.PHONY: figures
figures: ## measures build times, binary size, start and idle memory (about ten minutes)
	@python3 tools/figures.py

.PHONY: clean
clean: ## removes what was built and installed
	cargo clean
	rm -rf .tools
