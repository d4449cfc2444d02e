# ruff: noqa: F403
# MicroPython's `cryptolib`: stack/api/cryptolib.py.
from stack.api.cryptolib import *
