# The names that people and scripts use. The work is done by host/barewire and scripts/.

IMAGE ?= repl
FORMATS ?= elf$(if $(filter-out repl,$(IMAGE)), iso disk)
BUILD_PY = PYTHONPATH=host python3 -m barewire.build
.DEFAULT_GOAL := help

.PHONY: image mpy-cross unix-port libraries loc clean

image: ## build build/barewire.elf; IMAGE=name: ELF, ISO and disk in build/name (FORMATS="elf iso disk")
	@$(if $(filter iso disk,$(FORMATS)),scripts/ensure media)
	@$(BUILD_PY) --image $(IMAGE) --formats "$(FORMATS)"

mpy-cross: ## build MicroPython's cross compiler only
	@$(BUILD_PY) --mpy-cross

unix-port: ## build MicroPython's unix port: the stack without QEMU (host/unixport/run.py)
	@$(BUILD_PY) --unix-port

libraries: mpy-cross ## dist/libraries: stack.tls, http.h2, ws and dns for other MicroPython boards (examples/libraries)
	@PYTHONPATH=host python3 -m barewire.library dist/libraries build/mpy-cross/mpy-cross

loc: ## count the lines of C and assembly of our own
	@$(BUILD_PY) --loc

clean: ## delete what was built; what was fetched stays
	@rm -rf build/firmware build/images build/mpy-cross build/unix-port build/barewire.* build/*/barewire.* build/media dist

include $(wildcard mk/*.mk)
