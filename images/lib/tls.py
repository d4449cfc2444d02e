# ruff: noqa: F403
# MicroPython's `tls`: stack/api/ssl.py.
from stack.api.ssl import *
