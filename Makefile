# make demo     installs LibTorch into the cache if need be, builds, and runs configs/demo.toml
# make task TASK=classify  fetches what configs/tasks/classify.toml reads, pre-trains (once for all tasks, where it starts from that) and runs it
# make test     all tests, and that `mill` compiles without LibTorch; no network, no GPU
# make build    the executables `mill` and `mill-model` in release mode
# make libtorch LibTorch 2.13.0 in the cache, unless the variable LIBTORCH names another folder
# make lint     rustfmt and clippy, warnings are errors
# make bench    this program beside its peers; see tests/bench/README.md

cache := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/corpusmill
export CARGO_TARGET_DIR ?= $(cache)/target
ifndef LIBTORCH
export LIBTORCH := $(shell stages/torch/install-libtorch.sh --where)
endif
export PATH := $(PATH):$(HOME)/.cargo/bin

.PHONY: demo task test build libtorch lint bench prerequisites test-all test-data-only format clippy

demo: build
	$(CARGO_TARGET_DIR)/release/mill run configs/demo.toml

task: build
	data-samples/fetch.py $(TASK)
	! grep -q runs/pretrain configs/tasks/$(TASK).toml || $(CARGO_TARGET_DIR)/release/mill run configs/tasks/pretrain.toml --quiet
	$(CARGO_TARGET_DIR)/release/mill run configs/tasks/$(or $(TASK),$(error name a task: make task TASK=classify)).toml

test: test-all test-data-only

build: libtorch
	cargo build --release --locked

libtorch: prerequisites
	@stages/torch/install-libtorch.sh

lint: format clippy

bench: build
	tests/bench/run.py --mill $(CARGO_TARGET_DIR)/release/mill $(BENCH)

prerequisites:
	@.ci/prerequisites

test-all: libtorch
	cargo test --release --locked --workspace --no-fail-fast

# The dev profile, as for clippy: the two share what they have checked.
test-data-only: prerequisites
	cargo check --locked --no-default-features --features remote

format: prerequisites
	cargo fmt --all --check

clippy: libtorch
	cargo clippy --workspace --all-targets --locked -- -D warnings
