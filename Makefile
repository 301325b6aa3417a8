# What a person types, and what CI runs. `make` prints this list.

SHELL := /bin/bash
.SHELLFLAGS := -eu -c
MAKEFLAGS += --no-print-directory

# rustup puts cargo here and leaves PATH to the next login.
export PATH := $(PATH):$(HOME)/.cargo/bin

# Tests make namespaces, so they run as root; cargo itself does not, or its files would be root's.
RUNNER := --config 'target."cfg(unix)".runner = ["$(CURDIR)/tests/as-root"]'

# Whether this machine gives us root without asking.
ROOT := $(shell [ "$$(id -u)" = 0 ] || sudo -n true 2>/dev/null && echo yes || { [ -t 0 ] && command -v sudo >/dev/null && echo yes; })

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: deps envoy ## build, and show two nodes carrying real pods' traffic; needs root
	@cargo build
	@tests/as-root target/debug/culvert demo $$([ ! -x target/envoy/envoy ] || echo --envoy target/envoy/envoy)

.PHONY: test
test: lint envoy ## everything: lint, unit, tidy and kernel tests; installs what is missing
	@cargo test --no-run
ifeq ($(ROOT),yes)
	@cargo $(RUNNER) test -- --quiet
else
	@if [ "$${CI:-}" = true ]; then echo "error: the kernel tests need root, and CI does not skip them" >&2; exit 1; fi
	@echo "skipped: all tests but tidy, because they enter network namespaces and this user has neither root nor sudo" >&2
	@cargo test --test tidy -- --quiet
endif

.PHONY: lint
lint: deps ## formatting and clippy, warnings are errors
	@cargo fmt --check
	@cargo clippy --all-targets -- -D warnings

.PHONY: fmt
fmt: ## format the sources
	@cargo fmt

.PHONY: unit
unit: deps ## the tests beside the code
	@cargo $(RUNNER) test --lib --bins -- --quiet

.PHONY: kernel
kernel: deps envoy ## the tests in network namespaces alone
	@cargo build
	@cargo $(RUNNER) test --test netns

# ARGS="--seconds 3 --only throughput" says what; PEER=path adds another proxy as a third column.
.PHONY: bench
bench: deps ## measure culvert against no mesh, side by side; needs root and some minutes
	@cargo $(RUNNER) bench --bench mesh -- $(if $(PEER),--peer '$(abspath $(PEER))') $(ARGS)

# Some minutes to build, then SECONDS for each of TARGETS (all of them). Not a part of `make test`, which asks the seeds.
.PHONY: fuzz-smoke
fuzz-smoke: SECONDS ?= 60
fuzz-smoke: ## fuzz every decoder for a minute; installs cargo-fuzz when it is missing
	@deploy/deps.sh c++:g++
	@tests/fuzz/smoke $(SECONDS) $(TARGETS)

.PHONY: docs
docs: deps ## write the reference pages again from the code
	@UPDATE_GOLDEN=1 cargo test --test tidy -- --quiet pages_follow_the_code

.PHONY: deps
deps:
	@deploy/deps.sh

# The waypoint of the demonstration and of its kernel test.
.PHONY: envoy
envoy:
	@deploy/envoy.sh
