# Needs Python ≥ 3.11, a C compiler and make; everything else lands in .venv.
PYTHON ?= python3
VENV   ?= .venv
HOST   ?= 127.0.0.1
PORT   ?= 8765
BIN    := $(VENV)/bin
SOURCES := $(wildcard csrc/*.c csrc/*.h auralis_core/*.pyx auralis_core/*.pxd)
SANITIZE := -std=c11 -O1 -g1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer \
            -ffp-contract=off -Wall -Wextra -Werror

.PHONY: serve test dev lint bench sanitize wheel clean

serve: $(VENV)/.run  ## build if needed and start the server; MUSIC=DIR plays that folder
	$(BIN)/auralis serve $(if $(MUSIC),"$(MUSIC)",--demo) --host $(HOST) --port $(PORT)

test: $(VENV)/.dev  ## the whole suite
	$(BIN)/python -m pytest -n auto $(ARGS)

dev: $(VENV)/.dev  ## virtual environment with everything a developer needs, extensions built in place

lint: $(VENV)/.dev  ## ruff, mypy, stub test, clang-format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p .typing && ln -sfn ../server .typing/auralis_server
	$(BIN)/mypy
	MYPYPATH=.typing $(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml --ignore-missing-stub \
	  --ignore-disjoint-bases $(patsubst auralis_core/%.pyx,auralis_core.%,$(wildcard auralis_core/*.pyx))
	$(BIN)/clang-format --dry-run -Werror $(wildcard csrc/*.c csrc/*.h tests/csrc/*.c bench/*.c)

bench: $(VENV)/.dev  ## every benchmark, ratios to peers in the same run
	$(BIN)/python -m pytest bench --benchmark-only -o python_files='bench_*.py' $(ARGS)

sanitize: $(patsubst tests/csrc/%.c,build/sanitize/%.ok,$(wildcard tests/csrc/check_*.c))  ## the C drivers under address and undefined-behaviour sanitizers

build/sanitize/%.ok: build/sanitize/%
	$< && touch $@

build/sanitize/check_%: tests/csrc/check_%.c build/sanitize/libauralis.a
	$(CC) $(SANITIZE) -Icsrc $< build/sanitize/libauralis.a -lm -o $@

build/sanitize/libauralis.a: $(patsubst csrc/%.c,build/sanitize/%.o,$(wildcard csrc/*.c))
	ar rcs $@ $^

build/sanitize/%.o: csrc/%.c $(wildcard csrc/*.h)
	@mkdir -p $(@D)
	$(CC) $(SANITIZE) -c $< -o $@

wheel: $(VENV)/.dev  ## dist/*.whl
	rm -rf dist && $(BIN)/python -m build --wheel --outdir dist .

clean:
	rm -rf build dist .typing *.egg-info auralis_core/*.so $(VENV)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python pyproject.toml setup.py $(SOURCES)
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[server]'
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml setup.py $(SOURCES)
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	touch $@ $(VENV)/.run
