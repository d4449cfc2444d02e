# ruff: noqa: F403
# MicroPython's `socket`: stack/api/socket.py.
from stack.api.socket import *
