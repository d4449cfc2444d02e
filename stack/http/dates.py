"""HTTP's dates: RFC 9110, section 5.6.7. Seconds of Unix time, no clock and no calendar module."""

_DAYS = ("Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed")  # 1 January 1970 was a Thursday
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _civil(days):
    """(year, month, day) of days since 1970, Gregorian."""
    z = days + 719468
    era = z // 146097
    doe = z - era * 146097
    yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
    doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    mp = (5 * doy + 2) // 153
    month = mp + 3 if mp < 10 else mp - 9
    return yoe + era * 400 + (month <= 2), month, doy - (153 * mp + 2) // 5 + 1


def _days(year, month, day):
    y = year - (month <= 2)
    era = y // 400
    yoe = y - era * 400
    doy = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146097 + yoe * 365 + yoe // 4 - yoe // 100 + doy - 719468


def format(t):
    """ "Sun, 06 Nov 1994 08:49:37 GMT" """
    days = t // 86400
    s = t % 86400
    year, month, day = _civil(days)
    return "%s, %02d %s %04d %02d:%02d:%02d GMT" % (
        _DAYS[days % 7], day, _MONTHS[month - 1], year, s // 3600, s // 60 % 60, s % 60,
    )  # fmt: skip


def parse(text):
    """Seconds, or -1: no date. HTTP's three forms, and those of cookies (RFC 6265, 5.1.1)."""
    day = month = year = -1
    clock = None
    for word in text.replace(",", " ").replace("-", " ").split():
        if ":" in word:
            clock = word.split(":")
        elif word.isdigit():
            if day < 0 and len(word) <= 2:
                day = int(word)
            else:
                year = int(word)
        elif word[:3].lower() in [m.lower() for m in _MONTHS]:
            month = [m.lower() for m in _MONTHS].index(word[:3].lower()) + 1
    if 0 <= year < 70:
        year += 2000
    elif 70 <= year < 100:
        year += 1900
    if not (1 <= day <= 31 and month > 0 and 1601 <= year <= 9999):
        return -1
    if clock is None or len(clock) != 3 or not all([c.isdigit() and len(c) <= 2 for c in clock]):
        return -1
    h, m, s = [int(c) for c in clock]
    if h > 23 or m > 59 or s > 60:
        return -1
    return _days(year, month, day) * 86400 + h * 3600 + m * 60 + s
