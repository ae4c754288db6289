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

# pip's lines follow one another on one line of the terminal. The link lets pyright follow `import spaceclip.<room>`; Python
# itself finds the rooms through the editable install.
.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; v >= (3, 11) or sys.exit("SpaceCLIP needs Python 3.11 or newer, \
	$(PYTHON) is %d.%d; name another: make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv .venv
	@echo "installing $$(grep -c == constraints.txt) packages into .venv; with CUDA, PyTorch alone is several GB"
	@bash -o pipefail -c "$(BIN)/pip install --disable-pip-version-check --progress-bar off --constraint constraints.txt \
	--editable '.[dev]' | awk '/^[CDBI][a-z]+ing/ { printf \"\\r%-78.78s\", \$$0; fflush() } END { print \"\" }'"
	mkdir -p .venv/src && ln -sfn ../.. .venv/src/spaceclip
	touch $@
