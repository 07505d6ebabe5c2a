# make demo | test | bench | lint | wheel | clean        needs: make, Python 3.10 to 3.12 with venv, and PyPI
#   PYTHON=python3.12   another interpreter
#   PYTEST_ARGS="..."   for pytest, e.g. make test PYTEST_ARGS="-k geometry"

PYTHON ?= python3
PYTEST_ARGS ?=
SHELL := /bin/bash

BIN := .venv/bin
READY := .venv/ready
# In a set with an environment of its own every test runs: one that is skipped is a failure.
NO_SKIPS := SEMICML_TF_NO_SKIPS=1
PIP := $(BIN)/python -m pip --disable-pip-version-check install --progress-bar off

.PHONY: setup demo pipeline test test-conditions test-backends test-slow test-engine test-soak test-io test-ray test-tfx \
  test-browser niivue bench bench-torch nnunet lint wheel clean
.DEFAULT_GOAL := setup

setup: $(READY)

$(READY): requirements/core.lock setup.py
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' || \
	  { echo "expected Python 3.10 to 3.12; name one: make PYTHON=python3.11 ..." >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || \
	  { echo "this Python cannot make virtual environments; on Debian: apt install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	@# The locked versions have left Python 3.10; it gets the newest that setup.py allows.
	if $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
	  $(PIP) --require-hashes -r requirements/core.lock && $(PIP) --no-deps --no-build-isolation -e .; \
	else \
	  $(PIP) -e '.[dev,dicom,s3,dask]'; \
	fi
	touch $@

# The demo starts from an empty folder. The folder's name is fixed, so only an earlier demo is removed.
demo: $(READY)
	rm -rf demo_output
	$(BIN)/python -m pipelines.main_job --study=configs/demo.flags --output=demo_output --require_margin=0.1

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -q -m 'not slow and not soak' --ignore=tests/browser --ignore=tests/tfx $(PYTEST_ARGS)

# The same under other time zones, locales, users and the like; some hours for all of it, so name files in PYTEST_ARGS.
test-conditions: $(READY)
	$(BIN)/python -m tests.conditions $(PYTEST_ARGS)

test-slow: $(READY)
	$(BIN)/python -m pytest -q -m slow --ignore=tests/browser --ignore=tests/tfx $(PYTEST_ARGS)

# Of the slow ones, those of the training engine: four replicas, pairs of workers, kills by chance.
test-engine: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile -q -m slow $(PYTEST_ARGS) tests/methods/test_replicas.py tests/training/distributed/test_cluster.py \
	  tests/training/test_restart.py tests/training/test_run.py

# The embedded server under a minute's load: whether its memory stays flat.
test-soak: $(READY)
	$(BIN)/python -m pytest -q -m soak --ignore=tests/browser --ignore=tests/tfx $(PYTEST_ARGS)

# The report's page in a headless Chromium; skipped where there is none.
test-browser: $(READY)
	$(BIN)/python -m pytest -q $(PYTEST_ARGS) tests/browser

# A second Keras backend (JAX) and a second reader of DICOM-SEG (dcmqi). The environment holds these alone; the rest is
# that of `make setup`, which the file core.pth adds to its path.
.venv-backends/ready: requirements/backends.lock $(READY)
	$(PYTHON) -m venv --clear .venv-backends
	$(BIN)/python -c 'import site; print(site.getsitepackages()[0])' > \
	  "$$(.venv-backends/bin/python -c 'import site; print(site.getsitepackages()[0])')/core.pth"
	.venv-backends/bin/python -m pip --disable-pip-version-check install --progress-bar off --no-deps \
	  --require-hashes -r requirements/backends.lock
	.venv-backends/bin/python -m pip --disable-pip-version-check check
	touch $@

test-backends: .venv-backends/ready
	$(NO_SKIPS) .venv-backends/bin/python -m pytest -q $(PYTEST_ARGS) tests/losses/test_backend.py \
	  tests/files/dicom/test_seg_writer.py

# The three environments below are installed with --no-compile: compiling all modules takes a minute of processor time, and
# the tests import a part of them.

# tensorflow-io loads with TensorFlow 2.17 at the latest, hence an environment of its own. What is named beside tests/io
# says that the package works on that TensorFlow at all.
.venv-io/ready: requirements/io.lock
	$(PYTHON) -m venv .venv-io
	.venv-io/bin/python -m pip --disable-pip-version-check install --progress-bar off --no-compile \
	  --require-hashes -r requirements/io.lock
	.venv-io/bin/python -m pip --disable-pip-version-check check
	touch $@

test-io: .venv-io/ready
	$(NO_SKIPS) .venv-io/bin/python -m pytest -q $(PYTEST_ARGS) \
	  --deselect tests/storage/test_streaming.py::test_s3_goes_through_the_cache_where_tensorflow_io_does_not_load \
	  tests/io tests/storage/test_streaming.py tests/records/test_case_record.py \
	  tests/networks/test_unet.py tests/losses/test_supervised.py tests/losses/test_asc.py tests/inference/test_exported_model.py

# Ray Serve brings a hundred megabytes and its own versions of much, hence an environment of its own.
.venv-ray/ready: requirements/ray.lock
	$(PYTHON) -m venv .venv-ray
	.venv-ray/bin/python -m pip --disable-pip-version-check install --progress-bar off --no-compile \
	  --require-hashes -r requirements/ray.lock
	.venv-ray/bin/python -m pip --disable-pip-version-check check
	touch $@

test-ray: .venv-ray/ready
	$(NO_SKIPS) .venv-ray/bin/python -m pytest -q $(PYTEST_ARGS) tests/ray

# TFX keeps to TensorFlow's own versions of everything, hence an environment of its own; its metadata forbid what works.
.venv-tfx/ready: requirements/tfx.lock
	$(PYTHON) -m venv .venv-tfx
	.venv-tfx/bin/python -m pip --disable-pip-version-check install --progress-bar off --no-compile --no-deps \
	  --require-hashes -r requirements/tfx.lock
	touch $@

# The whole pipeline on a phantom; the same again takes from its cache what has not changed.
PIPELINE_ARGS ?= --study=configs/demo.flags --output=pipeline_output
pipeline: .venv-tfx/ready
	.venv-tfx/bin/python -m pipelines.local_runner $(PIPELINE_ARGS)

test-tfx: .venv-tfx/ready
	$(NO_SKIPS) .venv-tfx/bin/python -m pytest -q $(PYTEST_ARGS) tests/tfx

# Downloads the report's viewer from npm: make niivue NIIVUE=VERSION. Then check its licences and run make test-browser.
NIIVUE ?=
niivue: $(READY)
	$(BIN)/python tests/browser/fetch_niivue.py $(NIIVUE)

# Makes the tables of docs/benchmarks.md.
bench: $(READY)
	$(BIN)/python -m benchmarks.conversion
	$(BIN)/python -m benchmarks.onednn
	$(BIN)/python -m benchmarks.input_speed
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.serving_speed
	$(BIN)/python -m benchmarks.serving_soak

# Beside PyTorch and MONAI, in an environment of their own.
.venv-torch/ready:
	$(PYTHON) -m venv .venv-torch
	.venv-torch/bin/python -m pip --disable-pip-version-check install --progress-bar off \
	  torch==2.13.0 monai==1.6.1 scipy==1.17.1
	touch $@

bench-torch: $(READY) .venv-torch/ready
	$(BIN)/python -m benchmarks.step_speed --torch_python=.venv-torch/bin/python
	$(BIN)/python -m benchmarks.volume_speed --torch_python=.venv-torch/bin/python
	$(BIN)/python -m benchmarks.metrics_speed --torch_python=.venv-torch/bin/python

# nnU-Net, to compare this package with, in an environment of its own.
.venv-nnunet/ready: requirements/nnunet.lock
	$(PYTHON) -m venv .venv-nnunet
	.venv-nnunet/bin/python -m pip --disable-pip-version-check install --progress-bar off --no-compile \
	  --require-hashes -r requirements/nnunet.lock
	.venv-nnunet/bin/python -m pip --disable-pip-version-check check
	touch $@

nnunet: .venv-nnunet/ready

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

wheel: $(READY)
	$(BIN)/python -m pip --disable-pip-version-check wheel --no-deps --no-build-isolation --wheel-dir dist .

clean:
	rm -rf .venv .venv-backends .venv-io .venv-ray .venv-tfx .venv-torch .venv-nnunet demo_output pipeline_output build dist semicml_tf.egg-info .pytest_cache .ruff_cache
