# ruff: noqa: F403
# The old name of `machine`.
from machine import *
