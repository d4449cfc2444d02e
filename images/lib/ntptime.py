# MicroPython's `ntptime`: stack/api/ntptime.py, whose `host` and `timeout` are set here.
from stack.api import ntptime as _ntptime

host = _ntptime.host
timeout = _ntptime.timeout


def time():
    _ntptime.host = host
    _ntptime.timeout = timeout
    return _ntptime.time()


def settime():
    _ntptime.host = host
    _ntptime.timeout = timeout
    _ntptime.settime()
