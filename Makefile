# The names that people and scripts use. The work is done by host/barewire and scripts/.

IMAGE ?= repl
BUILD_PY = PYTHONPATH=host python3 -m barewire.build
.DEFAULT_GOAL := help

.PHONY: image mpy-cross loc clean

image: ## build build/barewire.elf; IMAGE=name: build/name/barewire.elf
	@$(BUILD_PY) --image $(IMAGE)

mpy-cross: ## build MicroPython's cross compiler only
	@$(BUILD_PY) --mpy-cross

loc: ## count the lines of C and assembly of our own
	@$(BUILD_PY) --loc

clean: ## delete what was built; what was fetched stays
	@rm -rf build/firmware build/images build/mpy-cross build/barewire.elf build/*/barewire.elf dist

include $(wildcard mk/*.mk)
