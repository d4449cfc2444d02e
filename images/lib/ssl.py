# ruff: noqa: F403
# MicroPython's `ssl`: stack/api/ssl.py.
from stack.api.ssl import *
