# unittest for the guest, sent along by `barewire test` where the tests bring none of their own:
# what CPython's has of TestCase, skipping, expected failures, sub-tests, and coroutines as tests.
import sys


class SkipTest(Exception):
    pass


class _Raises:
    def __init__(self, expected, regex=None):
        self.expected = expected
        self.regex = regex
        self.exception = None

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is None:
            raise AssertionError("%r not raised" % (self.expected,))
        if not isinstance(error, self.expected):
            return False
        self.exception = error
        if self.regex is not None:
            import re

            if not re.search(self.regex, str(error)):
                raise AssertionError("%r does not match %r" % (self.regex, str(error)))
        return True


class _SubTest:
    def __init__(self, test, msg, params):
        self.test = test
        self.what = ", ".join(([msg] if msg else []) + ["%s=%r" % p for p in params.items()])

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is None or not issubclass(kind, Exception) or issubclass(kind, SkipTest):
            return False
        self.test._sub_failures.append((self.what, error))
        return True


class TestCase:
    def __init__(self, name="runTest"):
        self._name = name
        self._cleanups = []
        self._sub_failures = []

    def setUp(self):
        pass

    def tearDown(self):
        pass

    @classmethod
    def setUpClass(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        pass

    def addCleanup(self, f, *args, **kwargs):
        self._cleanups.append((f, args, kwargs))

    def subTest(self, msg="", **params):
        return _SubTest(self, msg, params)

    def skipTest(self, reason):
        raise SkipTest(reason)

    def fail(self, msg=None):
        raise AssertionError(msg or "failed")

    def _check(self, good, msg, otherwise, *values):
        if not good:
            raise AssertionError(msg or otherwise % values)

    def assertEqual(self, a, b, msg=None):
        self._check(a == b, msg, "%r != %r", a, b)

    def assertNotEqual(self, a, b, msg=None):
        self._check(a != b, msg, "%r == %r", a, b)

    def assertTrue(self, a, msg=None):
        self._check(a, msg, "%r is not true", a)

    def assertFalse(self, a, msg=None):
        self._check(not a, msg, "%r is not false", a)

    def assertIs(self, a, b, msg=None):
        self._check(a is b, msg, "%r is not %r", a, b)

    def assertIsNot(self, a, b, msg=None):
        self._check(a is not b, msg, "%r is %r", a, b)

    def assertIsNone(self, a, msg=None):
        self._check(a is None, msg, "%r is not None", a)

    def assertIsNotNone(self, a, msg=None):
        self._check(a is not None, msg, "%r is None", a)

    def assertIn(self, a, b, msg=None):
        self._check(a in b, msg, "%r not in %r", a, b)

    def assertNotIn(self, a, b, msg=None):
        self._check(a not in b, msg, "%r in %r", a, b)

    def assertIsInstance(self, a, b, msg=None):
        self._check(isinstance(a, b), msg, "%r is not an instance of %r", a, b)

    def assertNotIsInstance(self, a, b, msg=None):
        self._check(not isinstance(a, b), msg, "%r is an instance of %r", a, b)

    def assertLess(self, a, b, msg=None):
        self._check(a < b, msg, "%r is not less than %r", a, b)

    def assertLessEqual(self, a, b, msg=None):
        self._check(a <= b, msg, "%r is greater than %r", a, b)

    def assertGreater(self, a, b, msg=None):
        self._check(a > b, msg, "%r is not greater than %r", a, b)

    def assertGreaterEqual(self, a, b, msg=None):
        self._check(a >= b, msg, "%r is less than %r", a, b)

    def assertAlmostEqual(self, a, b, places=7, msg=None, delta=None):
        near = a == b or (abs(a - b) <= delta if delta else round(abs(a - b), places) == 0)
        self._check(near, msg, "%r is not almost %r", a, b)

    def assertNotAlmostEqual(self, a, b, places=7, msg=None, delta=None):
        near = a == b or (abs(a - b) <= delta if delta else round(abs(a - b), places) == 0)
        self._check(not near, msg, "%r is almost %r", a, b)

    def assertCountEqual(self, a, b, msg=None):
        left = list(b)
        for x in a:
            self._check(x in left, msg, "%r not in %r", x, b)
            left.remove(x)
        self._check(not left, msg, "%r not in %r", left, a)

    def assertSequenceEqual(self, a, b, msg=None):
        self._check(list(a) == list(b), msg, "%r != %r", a, b)

    assertListEqual = assertTupleEqual = assertDictEqual = assertSetEqual = assertEqual

    def assertRegex(self, text, regex, msg=None):
        import re

        self._check(re.search(regex, text), msg, "%r does not match %r", regex, text)

    def assertRaises(self, expected, call=None, *args, **kwargs):
        return self._raises(_Raises(expected), call, args, kwargs)

    def assertRaisesRegex(self, expected, regex, call=None, *args, **kwargs):
        return self._raises(_Raises(expected, regex), call, args, kwargs)

    def _raises(self, context, call, args, kwargs):
        if call is None:
            return context
        with context:
            call(*args, **kwargs)


class IsolatedAsyncioTestCase(TestCase):
    async def asyncSetUp(self):
        pass

    async def asyncTearDown(self):
        pass


def skip(reason):
    def mark(thing):
        if isinstance(thing, type):
            thing._skipped = reason
            return thing

        def skipped(*_):
            raise SkipTest(reason)

        return skipped

    return mark


def skipIf(condition, reason):
    return skip(reason) if condition else lambda thing: thing


def skipUnless(condition, reason):
    return skipIf(not condition, reason)


def expectedFailure(f):
    def expected(self):
        try:
            f(self)
        except Exception:
            return
        raise AssertionError("it was expected to fail")

    return expected


def _close(test):
    """Clean-ups, last first; the first exception of them, or None."""
    first = None
    while test._cleanups:
        f, args, kwargs = test._cleanups.pop()
        try:
            f(*args, **kwargs)
        except Exception as e:
            first = first or e
    return first


async def _arun(test):
    await test.asyncSetUp()
    try:
        value = getattr(test, test._name)()
        if hasattr(value, "send"):
            await value
    finally:
        await test.asyncTearDown()


def _run_one(test):
    from _barewire_tests import _finish, text_of

    try:
        test.setUp()
        try:
            if isinstance(test, IsolatedAsyncioTestCase):
                _finish(_arun(test))
            else:
                _finish(getattr(test, test._name)())
        finally:
            test.tearDown()
    finally:
        late = _close(test)
    if late:
        raise late
    if test._sub_failures:
        raise AssertionError(
            "\n".join(["[%s] %s" % (what, text_of(e)) for what, e in test._sub_failures])
        )


def _skipper(reason):
    def skipped():
        raise SkipTest(reason)

    return skipped


def _runner(cls, name):
    return lambda: _run_one(cls(name))


def _run_class(cls):
    from _barewire_tests import case

    names = [n for n in sorted(dir(cls)) if n.startswith("test") and callable(getattr(cls, n))]
    reason = getattr(cls, "_skipped", None)
    if reason is None:
        try:
            cls.setUpClass()
        except SkipTest as e:
            reason = str(e)
    for name in names:
        shown = "%s.%s" % (cls.__name__, name)
        if reason is not None:
            case(shown, _skipper(reason))
        else:
            case(shown, _runner(cls, name))
    if reason is None:
        cls.tearDownClass()


def run_all(space):
    """Run the TestCases of a module's globals."""
    classes = [
        c for c in space.values()
        if isinstance(c, type) and issubclass(c, TestCase)
        and c not in (TestCase, IsolatedAsyncioTestCase)
    ]  # fmt: skip
    for cls in sorted(classes, key=lambda c: c.__name__):
        _run_class(cls)


def main(module="__main__", *_, **__):
    from _barewire_tests import counts

    run_all((sys.modules.get(module) or __import__(module)).__dict__ if isinstance(module, str)
            else module.__dict__)  # fmt: skip
    if counts.bad:
        sys.exit(1)
