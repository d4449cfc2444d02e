# ruff: noqa: F403
# MicroPython's `machine`: stack/api/machine.py.
from stack.api.machine import *
