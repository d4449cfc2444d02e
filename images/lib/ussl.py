# ruff: noqa: F403
# The old name of `ssl`.
from ssl import *
