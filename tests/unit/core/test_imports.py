"""Imports of what is loaded, as CPython does them: in the image firmware/frozen.c finds it."""

import sys


class _Other:
    thing = 7


def test_what_is_loaded_is_found_by_its_whole_name():
    import stack.core.seq
    from stack.core.seq import lt

    assert stack.core.seq is sys.modules["stack.core.seq"]
    assert stack is sys.modules["stack"] and stack.core.seq.lt is lt


def test_another_module_in_its_place():
    import stack.core.seq

    kept = sys.modules["stack.core.seq"]
    sys.modules["stack.core.seq"] = _Other()
    try:
        from stack.core.seq import thing

        assert thing == 7
    finally:
        sys.modules["stack.core.seq"] = kept
    assert stack.core.seq is kept


def test_one_that_was_forgotten_is_loaded_anew():
    kept = sys.modules.pop("stack.core.seq", None)
    from stack.core.seq import lt

    assert lt(1, 2) and sys.modules["stack.core.seq"] is not kept
    if kept is not None:
        sys.modules["stack.core.seq"] = sys.modules["stack.core"].seq = kept


def test_none_of_that_name():
    for name in ("stack.core.nothing", "nothing.core"):
        try:
            __import__(name, None, None, ("x",), 0)
        except ImportError:
            continue
        raise AssertionError(name)
