# Fuzzing beyond what `make test` does.

.PHONY: fuzz

fuzz: deps-test ## TCP under programs of lies (ARGS="--seconds 600 --jobs 2 --executions 5000000 --grow")
	@PYTHONPATH=host:host/shim:. $(VENV)/python -m tests.fuzz $(ARGS)
