"""The stack. Its pure parts are libraries for CPython and boards too: examples/libraries."""

try:
    import micropython  # noqa: F401
except ImportError:
    import sys

    from stack import _cpython

    sys.modules["micropython"] = _cpython
