# ruff: noqa: F401, F403
# What the prompt knows of the network: stack/api/net.py. Also `sys.net`.
from stack.api.net import *
from stack.api.net import __getattr__
