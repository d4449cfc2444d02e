# ruff: noqa: F401
# MicroPython's `mip`: stack/api/mip.py.
from stack.api.mip import install
