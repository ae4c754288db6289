PYTHON ?= python3
BIN := .venv/bin

.PHONY: test test-long test-lowest demo bench bench-gpu

test: .venv/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist worksteal

# 70 kills and 5,000 mutated inputs; TMPDIR=/dev/shm spares the disk.
test-long: .venv/ready
	PYTHONPATH=tests/shared OMP_NUM_THREADS=1 $(BIN)/python tests/long/kills.py
	PYTHONPATH=tests/shared OMP_NUM_THREADS=1 $(BIN)/python tests/long/fuzz.py

# The lowest versions that pyproject.toml admits, in an environment of their own.
test-lowest: .venv-lowest/ready
	OMP_NUM_THREADS=1 .venv-lowest/bin/pytest --numprocesses 2 --dist loadfile tests/cache tests/train tests/evaluate \
	$(addprefix tests/extract/test_,clip.py encoder_folders.py images.py depth_files.py labelled.py folder.py engine.py \
	worker.py connection.py) tests/pipeline/test_commands.py

demo: .venv/demo
	PATH="$(CURDIR)/$(BIN):$$PATH" dvc repro
	$(BIN)/spaceclip show results/demo

bench: .venv/ready
	$(BIN)/python tests/benchmarks/run.py

# At most six minutes on a machine with a CUDA card, without a network.
bench-gpu: .venv/ready
	$(BIN)/python tests/benchmarks/bench_gpu.py

# What the demo needs is in `ready` too. pip's lines follow one another on one line of the terminal. The link lets pyright
# follow `import spaceclip.<room>`; Python itself finds the rooms through the editable install.
.venv/ready: EXTRA := dev
.venv/demo: EXTRA := dvc
.venv/ready .venv/demo: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; v >= (3, 11) or sys.exit("SpaceCLIP needs Python 3.11 or newer, \
	$(PYTHON) is %d.%d; name another: make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv .venv
	@echo "installing spaceclip[$(EXTRA)] into .venv; with CUDA, PyTorch alone is several GB"
	@bash -o pipefail -c "$(BIN)/pip install --disable-pip-version-check --progress-bar off --constraint constraints.txt \
	--editable '.[$(EXTRA)]' | awk '/^[CDBI][a-z]+ing/ { printf \"\\r%-78.78s\", \$$0; fflush() } END { print \"\" }'"
	mkdir -p .venv/src && ln -sfn ../.. .venv/src/spaceclip
	touch .venv/demo $@

.venv-lowest/ready: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/pip install --quiet --disable-pip-version-check --constraint constraints-lowest.txt --editable '.[dev]'
	touch $@
