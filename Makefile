# make demo   install into .venv, edit a real photograph with `nano`, make a set of thumbnails, show where they are
# make test   install into .venv, then style, types and every test
# make check  style and types alone
.PHONY: demo test check clean

PYTHON ?= python3
BIN := .venv/bin

demo: .venv/installed
	scripts/demo $(BIN)

test: .venv/installed-tests
	scripts/check $(BIN)
	scripts/test $(BIN)

check: .venv/installed-tests
	scripts/check $(BIN)

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[thumbnails]'
	touch $@

.venv/installed-tests: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

clean:
	rm -rf .venv demo
