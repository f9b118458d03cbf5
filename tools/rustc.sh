# To be sourced, in the project's root.
# shellcheck shell=bash

# What rustc tells of itself: of_rustc release.
of_rustc() { rustc -vV | sed -n "s/^$1: //p"; }

# How often the release calls what. It holds for one target and one version of rustc, which make a part of all names.
# shellcheck disable=SC2034
profile=pgo/$(of_rustc host)-$(of_rustc release).profdata
