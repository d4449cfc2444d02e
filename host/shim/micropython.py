"""`import micropython` on CPython before `stack` is imported: stack/_cpython.py has what it is."""

from stack._cpython import *  # noqa: F403
