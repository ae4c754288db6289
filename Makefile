PYTHON ?= python3
BIN := .venv/bin

.PHONY: test demo bench

test: .venv/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile

demo: .venv/ready
	PATH="$(CURDIR)/$(BIN):$$PATH" dvc repro
	$(BIN)/spaceclip show results/demo

bench: .venv/ready
	$(BIN)/python tests/benchmarks/run.py

# The link lets pyright follow `import spaceclip.<room>`; Python itself finds the rooms through the editable install.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	mkdir -p .venv/src && ln -sfn ../.. .venv/src/spaceclip
	touch $@
