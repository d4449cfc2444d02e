# ruff: noqa: F403
# The old name of `hashlib`.
from hashlib import *
