# make demo   install, train a small table on generated images, print it beside its reference
# make test   install, build the CPU operators, then the four checks that CI runs
# make ops    compile the native operators, with CUDA kernels where there is an nvcc that matches torch
# make gpu-test, gpu-bench   with PyTorch and nvcc alone: build for this machine's GPU, check, time into results/gpu
# A second call of either installs nothing again. `make PYTHON=python3.12 ...` chooses the interpreter.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS := repro/install/constraints.txt
INSTALLED := $(VENV)/.installed
DEMO := demo/$(shell date +%Y%m%d-%H%M%S)

.PHONY: help install ops demo test gpu-test gpu-bench format clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

install: $(INSTALLED)

$(INSTALLED): pyproject.toml $(CONSTRAINTS) repro/install/detectron2.py
	$(PYTHON) repro/install/prerequisites.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q -c $(CONSTRAINTS) pip setuptools wheel
	@echo "Installing torch (CUDA build, 5.5 GB on disk) and the rest: a few minutes the first time."
	$(BIN)/python -m pip install --disable-pip-version-check -q -c $(CONSTRAINTS) -e ".[torch,detection,export,dev]"
	$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps tidecv==1.0.1
	$(BIN)/python repro/install/detectron2.py
	touch $(INSTALLED)

# Folders of its own, so that it measures everything anew and leaves results/ alone.
demo: $(INSTALLED)
	$(BIN)/repro ops build --no-cuda
	REPRO_RESULTS=$(CURDIR)/$(DEMO)/results REPRO_OUTPUT=$(CURDIR)/$(DEMO)/output \
	$(BIN)/repro run detreg/table5 --scale tiny --cluster local --rows swav,detreg --columns 1%,10% --seeds 42,43

ops: $(INSTALLED)
	$(BIN)/repro ops build

test: $(INSTALLED)
	$(BIN)/repro ops build --no-cuda
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

# Neither installs anything: GPU_PYTHON is an interpreter that has PyTorch.
GPU_PYTHON ?= python3
SELFCHECK := -m repro.ops.ms_deform_attn.selfcheck --device cuda

gpu-test:
	PYTHONPATH=$(CURDIR) $(GPU_PYTHON) $(SELFCHECK) --build --write results/gpu
	if command -v compute-sanitizer; then PYTORCH_NO_CUDA_MEMORY_CACHING=1 PYTHONPATH=$(CURDIR) \
	compute-sanitizer --tool memcheck --error-exitcode 1 $(GPU_PYTHON) $(SELFCHECK) --only "Q=7"; \
	else echo "No compute-sanitizer here: memory accesses are not checked."; fi

gpu-bench:
	PYTHONPATH=$(CURDIR) $(GPU_PYTHON) benchmarks/perf/ms_deform_attn_gpu.py --build --write results/gpu

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache *.egg-info
