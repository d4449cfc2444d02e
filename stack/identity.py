"""What a machine keeps from boot to boot about itself: the secret of its stable IPv6 addresses.

RFC 7217, section 5: "The secret_key SHOULD be ... stored in non-volatile memory". Here that is
a file of the disk that is `/`, or one that fw_cfg hands over, which goes first. With neither
the secret is drawn at each boot, and with it the addresses change.
"""

from hashlib import sha256

from drivers.device import DeviceError
from stack.devices import SECRET6

FILE = "/.ip6-secret"
_LEN = 16


def secret6(drawn, strong, fw_cfg, kept, say, path=FILE):
    """16 bytes. drawn: those to begin with, strong: worth keeping; kept: `/` is a disk's."""
    try:
        if fw_cfg is not None and SECRET6 in fw_cfg.names():
            given = fw_cfg.read(SECRET6)
            if len(given) >= _LEN:
                return sha256(given).digest()[:_LEN]
            say("fw_cfg: %s: fewer than %d bytes" % (SECRET6, _LEN))
    except (DeviceError, OSError) as e:
        say("fw_cfg: %s: %s" % (SECRET6, e))
    if not kept:
        return drawn
    try:
        with open(path, "rb") as f:
            found = f.read(_LEN + 1)
        if len(found) == _LEN:
            return found
    except OSError:
        pass  # this is the first boot
    if strong:
        try:
            with open(path, "wb") as f:
                f.write(drawn)
        except OSError:
            pass  # full, or read-only: as without a disk
    return drawn
