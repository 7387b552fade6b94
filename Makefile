# Each target sets itself up in .venv, also in a fresh clone: make demo | test | quick | lint | docs | bench | gate | dist | clean
#   make test PYTHON=python3.12        another interpreter
#   make test EXTRAS=cpu,train,dev     other extras (pyproject.toml)
#   make test CONSTRAINTS=             newest packages in place of the pinned ones

PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
comma := ,
# TensorRT-RTX has wheels for this platform only; it needs no GPU to be imported.
EXTRAS ?= cpu,cluster,docs,train,dev$(if $(findstring Linux x86_64,$(shell uname -sm)),$(comma)rtx)

BIN := .venv/bin
READY := .venv/ready

.PHONY: demo test quick lint docs bench gate dist clean

demo: $(READY)
	$(BIN)/fcn-edge demo

test: $(READY)
	$(BIN)/pytest -n 2

# Without the tests that take long.
quick: $(READY)
	$(BIN)/pytest -n 2 -m "not slow"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(READY)
	$(BIN)/fcn-edge bench --suite street --out out/bench

# What CI asks: did this network, on synthetic streets, get worse than its baseline? What cannot be told here passes.
gate: $(READY)
	$(BIN)/fcn-edge bench --suite quick --no-pictures --out out/gate
	$(BIN)/fcn-edge gate out/gate/record.json --baseline benchmarks/baselines --limits benchmarks/limits/quick.toml \
	  --junit out/gate/gate.xml --undecided pass

# sdist and wheel, in dist/.
dist:
	$(PYTHON) -m venv build/tools
	build/tools/bin/pip install --quiet build
	build/tools/bin/python -m build --outdir dist

clean:
	rm -rf .venv build dist out site .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

# Editable: Python files are used where they stand, and the compiled kernels lie in .venv.
$(READY): pyproject.toml constraints.txt CMakeLists.txt $(wildcard fcn_edge/native/*)
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $(addprefix -c ,$(CONSTRAINTS)) -e '.[$(EXTRAS)]'
	touch $@
