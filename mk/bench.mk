# Benchmarks: nothing here passes or fails.

.PHONY: bench

bench: ## measure Barewire beside a Linux guest in the same QEMU (ARGS="--pairs 3 --row tcp", --native)
	@scripts/ensure bench
	@$(MAKE) --no-print-directory image
	@$(VENV)/python -m tests.bench $(ARGS)
