"""The image bench: the servers that `make bench` measures, in one image that boots anywhere."""

import serve  # noqa: F401  tests/bench/in_barewire/serve.py
