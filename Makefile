# What people type. Everything that takes long is kept in the cache folder; the second time is fast.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

export STREAMFLEET_CACHE ?= $(HOME)/.cache/streamfleet
export CARGO_TARGET_DIR ?= $(STREAMFLEET_CACHE)/target
# Binaries are static, which needs a named target (.cargo/config.toml).
TARGET := $(CARGO_TARGET_DIR)/$(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
DEBUG := $(TARGET)/debug
RELEASE := $(TARGET)/release
INDEX ?= 1
NODES ?= 2
# The cluster of bench-operator: its own, since ten thousand objects are left on it.
BENCH_INDEX ?= 8
ONLY ?=

.PHONY: help check demo demo-down test lint images cluster-up cluster-down build release bench-producer bench-operator faults-producer soak

help: ## this list
	@echo 'Streamfleet: from YAML about cameras to stored video.'
	echo
	sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22
	echo
	echo 'The first time, demo and test install Debian packages (as root) and build a Kubernetes; all of it is kept in'
	echo '$(STREAMFLEET_CACHE) (set STREAMFLEET_CACHE for another place). On this machine:'
	$(MAKE) --no-print-directory check || true

check: ## what this machine has and lacks
	@scripts/check-machine

demo: ## the whole way on this machine: cluster, cameras, stored video, a clip; stays up
	@scripts/check-machine demo
	echo '== building the binaries (release); the first time takes some minutes'
	cargo build --locked --release --workspace
	$(RELEASE)/streamfleet-dev demo

demo-down: ## take the demo down; the cache folder with the emulator's data stays
	@found() { compgen -G "$$1" >/dev/null; }
	if ! found /var/lib/streamfleet/cluster-0 && ! found /sys/class/net/sf0 && ! found '/run/netns/sf0-*' &&
	  ! found '/sys/fs/cgroup/*/sf0-*'; then
	  echo 'no demo is up'
	  exit 0
	fi
	for binary in $(RELEASE)/streamfleet-dev $(DEBUG)/streamfleet-dev; do
	  if [ -x "$$binary" ]; then exec "$$binary" demo-down; fi
	done
	cargo build --locked --release --workspace
	exec $(RELEASE)/streamfleet-dev demo-down

build: ## all binaries and tests (development profile)
	@scripts/check-machine build
	cargo build --locked --workspace --all-targets

release: ## all binaries (release profile)
	@scripts/check-machine build
	cargo build --locked --release --workspace

test: ## every test, those on a real cluster included
	@scripts/check-machine test
	scripts/test

lint: ## rustfmt, clippy, docs, helm lint
	@scripts/check-machine lint
	scripts/lint

bench-producer: release ## what the producer costs, beside ffmpeg and GStreamer (25 minutes); target/bench/producer.json
	@$(RELEASE)/streamfleet-bench producer

bench-operator: release ## what the operator costs, how soon it is done, what it stands, with up to 10,000 streams (70 minutes, as root; STREAMS=1000, ONLY=storm,revoked, REVOKED_MINUTES=2); target/bench/operator.json
	@$(RELEASE)/streamfleet-dev tools
	trap '$(RELEASE)/streamfleet-dev cluster down --index $(BENCH_INDEX)' EXIT
	$(RELEASE)/streamfleet-dev cluster down --index $(BENCH_INDEX)
	$(RELEASE)/streamfleet-dev cluster up --index $(BENCH_INDEX) --nodes 1
	export STREAMFLEET_CLUSTER=/var/lib/streamfleet/cluster-$(BENCH_INDEX)
	$(RELEASE)/streamfleet-bench operator $(if $(STREAMS),--streams $(STREAMS)) --only '$(ONLY)' $(if $(REVOKED_MINUTES),--revoked-minutes $(REVOKED_MINUTES))

faults-producer: release ## what becomes of pictures when things break (12 minutes; ONLY=zero-window,cut-15); target/bench/faults-producer.json
	@$(RELEASE)/streamfleet-bench faults-producer --only '$(ONLY)'

soak: release ## half an hour of random faults with 50 feeds (SEED=1 plays one again, MINUTES=5); target/bench/soak.json
	@$(RELEASE)/streamfleet-bench soak $(if $(SEED),--seed $(SEED)) --minutes $(or $(MINUTES),30)

images: release ## the images, to push to a registry; says where they are
	@$(RELEASE)/streamfleet-dev images

cluster-up: build ## a Kubernetes of NODES (default 2) nodes on this machine; INDEX (default 1) tells several apart
	@$(DEBUG)/streamfleet-dev cluster up --index $(INDEX) --nodes $(NODES)

cluster-down: build ## take cluster INDEX down; nothing is left of it
	@$(DEBUG)/streamfleet-dev cluster down --index $(INDEX)
