# ruff: noqa: F403
# The old name of `select`.
from select import *
