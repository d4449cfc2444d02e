# ruff: noqa: F403
# MicroPython's `os`, with an urandom that refuses where nothing is unpredictable.
from uos import *

from stack.api.os import *
