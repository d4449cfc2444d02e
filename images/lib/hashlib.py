# ruff: noqa: F403
# MicroPython's `hashlib`: stack/api/hashlib.py.
from stack.api.hashlib import *
