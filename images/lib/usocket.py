# ruff: noqa: F403
# The old name of `socket`.
from socket import *
