# Runs in the guest, sent along by `barewire test`: executes a test file and tells the host how it
# went, in lines of JSON that begin with the character 30.
import json
import sys
import time


def tell(**what):
    print("\x1e" + json.dumps(what))


def text_of(e):
    import io

    out = io.StringIO()
    sys.print_exception(e, out)
    return out.getvalue()


class Counts:
    def __init__(self):
        self.ran = 0
        self.bad = 0


counts = Counts()


def case(name, call):
    """Run one test and tell how it went. call: returns None, or a coroutine to be run."""
    from unittest import SkipTest

    began = time.ticks_ms()
    state, why = "passed", ""
    try:
        _finish(call())
    except SkipTest as e:
        state, why = "skipped", str(e)
    except AssertionError as e:
        state, why = "failed", text_of(e)
    except Exception as e:
        state, why = "error", text_of(e)
    counts.ran += 1
    counts.bad += state in ("failed", "error")
    tell(case=name, state=state, why=why, ms=time.ticks_diff(time.ticks_ms(), began))


def _finish(value):
    if hasattr(value, "send"):
        import asyncio

        asyncio.run(value)


def run(path, functions):
    """Execute the file as __main__. functions: run its test_* functions too."""
    import __main__

    space = __main__.__dict__
    space["__file__"] = path
    folder = path.rsplit("/", 1)[0]
    if folder not in sys.path:
        sys.path.insert(0, folder)
    status, why = 0, ""
    try:
        with open(path) as f:
            code = compile(f.read(), path, "exec")
        exec(code, space)
        if "unittest" in sys.modules and not counts.ran:
            sys.modules["unittest"].run_all(space)
        if functions and not counts.ran:
            for name in sorted(space):
                if name.startswith("test_") and callable(space[name]):
                    case(name, space[name])
    except SystemExit as e:
        status = e.args[0] if e.args else 0
        if status is None or isinstance(status, bool):
            status = int(bool(status))
        elif not isinstance(status, int):
            status, why = 1, str(status)
    except BaseException as e:
        status, why = -1, text_of(e)
    tell(end=status, why=why)
