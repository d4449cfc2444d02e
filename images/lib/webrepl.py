# ruff: noqa: F401
# MicroPython's `webrepl`: stack/api/webrepl.py.
from stack.api.webrepl import accept_conn, start, stop
