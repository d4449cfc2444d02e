"""hashlib: MicroPython's, with what boards have by another TLS: sha1, md5, hexdigest.

    h = hashlib.sha256(b"...");  h.update(more);  h.digest();  h.hexdigest();  h.copy()

A hash may be read and gone on with, as in CPython. Not implemented: the rest of CPython's.
"""

from stack.crypto import sha2


def _class(name):
    if name == "sha1":
        from stack.crypto.sha1 import Sha1 as cls
    elif name == "md5":
        from stack.crypto.md5 import Md5 as cls
    else:
        cls = {"sha256": sha2.Sha256, "sha384": sha2.Sha384, "sha512": sha2.Sha512}.get(name)
        if cls is None:
            raise ValueError("unsupported hash type %s" % name)
    return cls


def new(name, data=b""):
    """A hash by its name: md5, sha1, sha256, sha384, sha512. ValueError."""
    return _class(name)(data)


def md5(data=b""):
    return new("md5", data)


def sha1(data=b""):
    return new("sha1", data)


def sha256(data=b""):
    return sha2.Sha256(data)


def sha384(data=b""):
    return sha2.Sha384(data)


def sha512(data=b""):
    return sha2.Sha512(data)
