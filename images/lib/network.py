# ruff: noqa: F401, F403
# MicroPython's `network`: stack/api/network.py.
from stack.api.network import *
from stack.api.network import __getattr__
