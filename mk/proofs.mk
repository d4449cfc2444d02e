# Proofs beyond what `make test` does, and the snapshots that it compares with.

.PHONY: fuzz snapshots test-slow test-images

fuzz: deps-test ## TCP under programs of lies; DNS messages (ARGS="--target dns"; ARGS="--seconds 600 --jobs 2 --executions 5000000 --grow")
	@PYTHONPATH=host:host/shim:. $(VENV)/python -m tests.fuzz $(ARGS)

snapshots: deps-test ## write tests/tcp/MUSTS.md and tests/sim/goodput.txt anew; the diff is yours to judge
	@PYTHONPATH=host:host/shim:. $(VENV)/python -m tests.tcp.musts
	@PYTHONPATH=host:host/shim:. $(VENV)/python -m tests.sim.goodput

test-slow: deps-test ## the tests that take minutes: 10,000 connections, 50,000 one after another, a flood
	@$(MAKE) --no-print-directory image
	@BAREWIRE_SLOW=1 $(VENV)/python -m pytest -s tests/boot/test_many.py $(PYTEST_ARGS)

test-images: deps-test ## every image as ELF, ISO, disk and stick, under SeaBIOS and OVMF
	@$(MAKE) --no-print-directory image
	@BAREWIRE_SLOW=1 $(VENV)/python -m pytest -n $(JOBS) --dist worksteal $(PYTEST_ARGS) tests/boot/test_images.py
