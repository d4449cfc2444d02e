# ruff: noqa: F403
# MicroPython's `requests`: stack/api/requests.py.
from stack.api.requests import *
