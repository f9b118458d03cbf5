#!/usr/bin/env bash
# cargo, as cargo-auditable calls it, but told of its wrapper by name: cargo makes a part of all names in the binary of what it is told, and
# the path would be another one in each clone, where no profile would fit.
export RUSTC_WORKSPACE_WRAPPER=cargo-auditable
exec cargo "$@"
