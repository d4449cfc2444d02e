# ruff: noqa: F401
# MicroPython's `select`: stack/api/select.py.
from stack.api.select import POLLERR, POLLHUP, POLLIN, POLLOUT, poll, select
