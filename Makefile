# Every target makes what it needs by itself: a virtual environment in .venv, the dependencies, the C extension.
# PYTHON=/path/to/python3.12 chooses the interpreter for it, WORKERS=4 the number of processes that run tests.

.DEFAULT_GOAL := help
.PHONY: help demo bundle test test-kernels test-slow test-bundle test-systemd test-frameworks check bench bench-memory fuzz proto native-asan \
    clean run-ready dev-ready torch-ready release-ready

# Twice the processors: most tests wait for the processes that they started.
WORKERS ?= $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN))
DEMO_ARGS ?=
TEST_ARGS ?=
TORCH ?= torch==2.13.0
TORCH_ARGS ?=
BENCH_ARGS ?=
FUZZ_S ?= 60
ARCH ?= $(shell uname -m)
BUNDLE_ARGS ?=
# Relative paths only, quoted nowhere else than in the shell: the checkout's path may contain spaces.
PY := .venv/bin/python
PYTEST := $(PY) -m pytest -n $(WORKERS) --dist worksteal
export PYTHON

help:                ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

demo: run-ready      ## watch a job follow the green power; DEMO_ARGS="--kill source" goes to `heliotrope demo`
	@$(PY) -m heliotrope.cli demo $(DEMO_ARGS)

bundle: release-ready ## dist/heliotrope-VERSION-linux-ARCH.tar.gz, with its own Python; ARCH=aarch64 or x86_64, BUNDLE_ARGS
	$(PY) -m release --arch $(ARCH) $(BUNDLE_ARGS)

test: dev-ready      ## all tests but the long matrices; TEST_ARGS goes to pytest
	$(PYTEST) -m "not slow" $(TEST_ARGS)

test-slow: dev-ready ## the long matrices: a kill at every failpoint, the wheel
	$(PYTEST) -m slow --ignore=tests/systemd --ignore=tests/release $(TEST_ARGS)

# PyTorch is large and no dependency of ours: it has an environment of its own, made once. TORCH is what pip is to install
# (plain "torch" may bring gigabytes of CUDA), TORCH_ARGS goes to it too, say "--index-url URL".
test-frameworks: torch-ready ## jobs of PyTorch and torchrun, moved; installs PyTorch into .venv-torch
	$(PYTEST) -m torch tests/frameworks $(TEST_ARGS)

# One process: both bundles are built once, and the machine's processors are busy with that.
test-bundle: release-ready ## both bundles, unpacked and at work, the one for aarch64 under qemu-user
	$(PY) -m pytest -rs tests/release $(TEST_ARGS)

test-systemd: dev-ready ## the services under a real systemd in namespaces: as root, else it says why not
	$(PY) -m pytest -rs tests/systemd $(TEST_ARGS)

check: dev-ready     ## style, types, import direction, packaging, generated protocol code
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m pytest -m "not slow" tests/layout

bench: dev-ready     ## the benchmarks that need one machine and no data, one JSON object each; a quarter of an hour
	@for name in codec kernels loopback decisions fleet agent_overhead; do $(PY) -m benchmarks.$$name --json $(BENCH_ARGS) || exit 1; done

bench-memory: dev-ready ## peak memory of both ends of a transfer of 100 MB and of 20 GB; needs 41 GB of disk
	$(PY) -m benchmarks.loopback --peaks-mb 100 20000 $(BENCH_ARGS)

proto: dev-ready     ## regenerate the protocol's code, and add what is new to its committed description
	$(PY) -m grpc_tools.protoc -I proto --python_out=proto --pyi_out=proto --grpc_python_out=proto \
	    proto/heliotrope/v1/*.proto
	$(PY) -m tests.layout.descriptors

# What this processor cannot run is left out by its own word: a demanded kernel never falls back.
test-kernels: dev-ready ## the native and transfer tests once per kernel that this processor has
	@for kernel in scalar avx2 neon; do \
	    HELIOTROPE_KERNEL=$$kernel $(PY) -c "import heliotrope.native" 2>/dev/null || { echo "$$kernel: not here"; continue; }; \
	    echo "$$kernel:"; \
	    HELIOTROPE_KERNEL=$$kernel $(PYTEST) -m "not slow" tests/native tests/agent_transfer $(TEST_ARGS) || exit 1; \
	done

# The extension alone, in a folder of its own that goes before the installed one. The interpreter is not sanitised,
# hence the preload; its own allocator would hide an overrun of a bytes object, hence PYTHONMALLOC.
native-asan: dev-ready ## the native tests under address and undefined-behaviour sanitizers
	HELIOTROPE_CFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=undefined -g -O1" \
	    $(PY) setup.py -q build --build-lib build/asan --build-temp build/asan-objects
	LD_PRELOAD="$$($${CC:-cc} -print-file-name=libasan.so) $$($${CC:-cc} -print-file-name=libubsan.so)" \
	    ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc PYTHONPATH=build/asan \
	    $(PY) -m pytest tests/native -p no:cacheprovider $(TEST_ARGS)

fuzz: dev-ready      ## coverage-guided fuzzers over every decoder, FUZZ_S seconds each; needs clang
	FUZZ_S=$(FUZZ_S) scripts/fuzz

clean:               ## what was made here: .venv, build folders, caches
	rm -rf .venv .venv-torch .venv-fuzz build dist *.egg-info native/_core*.so .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

run-ready:
	@scripts/set-up run

dev-ready:
	@scripts/set-up dev

torch-ready: dev-ready
	@[ -e .venv-torch/made ] || { $(PY) -m venv .venv-torch && \
	    .venv-torch/bin/python -m pip install --quiet numpy safetensors '$(TORCH)' $(TORCH_ARGS) && touch .venv-torch/made; }

release-ready: dev-ready
	@$(PY) -c "import ziglang" 2>/dev/null || $(PY) -m pip install --quiet --editable ".[release]"
