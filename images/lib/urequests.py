# ruff: noqa: F403
# The old name of `requests`.
from requests import *
