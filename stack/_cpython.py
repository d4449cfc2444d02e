"""MicroPython's `micropython` module for CPython, so that one source runs on both.

`native` and `viper` leave a function as it is; `ptr8`, `ptr16`, `ptr32`, put into builtins, give
a view that indexes as viper's pointers do. `import stack` installs it where there is none.
"""

import builtins


def const(value):
    return value


def native(function):
    return function


viper = native


def ptr8(buf):
    return buf


def ptr16(buf):
    return _view(buf, "H")


def ptr32(buf):
    return _view(buf, "I")


def _view(buf, code):
    view = memoryview(buf).cast("B")
    size = 2 if code == "H" else 4
    return view[: len(view) // size * size].cast(code)


def heap_lock():
    """CPython has no heap to lock: proofs of no allocation run in the image."""


def heap_unlock():
    return 0


def mem_info(*_verbose):
    pass


def opt_level(*_level):
    return 0


def schedule(function, argument):
    function(argument)


def kbd_intr(_char):
    pass


for _name, _value in (("ptr8", ptr8), ("ptr16", ptr16), ("ptr32", ptr32), ("uint", int)):
    setattr(builtins, _name, _value)
