# The host side: run, test, lint, help. Dependencies come from scripts/ensure.

VENV := build/venv/bin
JOBS ?= auto
PYTEST_ARGS ?=
DISK ?=
PLUG ?= 200
PLATFORM ?= all
SUITE ?= first-light
# The boot tests that came with the first version that ran: what every platform must pass whole.
FIRST_LIGHT := faults host mpremote mutations network prompt servers transfer units
ARGS ?=

.PHONY: run test test-platforms test-plug wheel lint help deps deps-test

run: deps ## boot the image in QEMU: a MicroPython prompt, Ctrl-A X leaves (ARGS="FILE -p 8080:80" DISK=disk.img)
	@$(MAKE) --no-print-directory image
	@$(VENV)/barewire run $(if $(DISK),--disk $(DISK)) $(ARGS)

test: deps-test ## lint, then every test: units, device model, simulations, boots across a bridge
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory image
	@$(VENV)/python -m pytest -n $(JOBS) --dist worksteal $(PYTEST_ARGS)

test-platforms: deps-test ## first light's boot tests on every machine, card, way to boot (PLATFORM=name; SUITE=all: every boot test)
	@$(MAKE) --no-print-directory image
	@$(VENV)/python -m pytest -n $(JOBS) --dist worksteal -m boot --platform $(PLATFORM) $(PYTEST_ARGS) \
	  $(if $(filter first-light,$(SUITE)),$(FIRST_LIGHT:%=tests/boot/test_%.py),tests/boot)

test-plug: deps-test ## kill QEMU PLUG=200 times while it writes to a disk; no closed file may be lost
	@$(MAKE) --no-print-directory image
	@PLUG=$(PLUG) $(VENV)/python -m pytest -q -rP --timeout 3600 $(PYTEST_ARGS) tests/boot/test_plug.py

wheel: deps ## dist/barewire-*.whl with the image in it: pip install it where there is QEMU
	@$(MAKE) --no-print-directory image
	@$(VENV)/pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w dist .
	@ls dist/barewire-*.whl

lint: deps-test ## ruff
	@$(VENV)/ruff check .

deps: ## install what `make run` needs (done by `make run`)
	@scripts/ensure run

deps-test: ## install what `make test` needs (done by `make test`)
	@scripts/ensure test

help: ## this list
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sort -u | \
	  awk -F ':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'
