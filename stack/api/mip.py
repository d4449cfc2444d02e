"""mip: install packages from an index or a URL, over HTTPS that verifies.

    mip.install("umqtt.simple")                  from the index, its dependencies too
    mip.install("https://host/lib/foo.py")       one file; .mpy, or .json of a package
    mip.install("github:org/repo", version="v1") its package.json

Files go to the first folder of sys.path that ends in /lib. What is there already with the right
content stays. Beyond MicroPython's: a file of an index is checked against the index's hash.
"""

import os
import sys

from micropython import const

from stack.api import hashlib, http

INDEX = "https://micropython.org/pi/v2"
_CHUNK = const(2048)
_SITES = {
    "github:": "https://raw.githubusercontent.com/%s/%s/%s/%s",
    "gitlab:": "https://gitlab.com/%s/%s/-/raw/%s/%s",
    "codeberg:": "https://codeberg.org/%s/%s/raw/branch/%s/%s",
}


def install(package, index=None, target=None, version=None, mpy=True):
    """Install; prints what is done. OSError, ValueError: what is wrong, files before it stay."""
    if not target:
        for p in sys.path:
            if p.endswith("/lib"):
                target = p
                break
        else:
            raise OSError(2, "no folder /lib in sys.path")
    _package(package, (index or INDEX).rstrip("/"), target.rstrip("/"), version, mpy)
    print("Done")


def _package(package, index, target, version, mpy):
    if "://" in package or package.startswith(tuple(_SITES)):
        if not package.endswith((".py", ".mpy", ".json")):
            package = package.rstrip("/") + "/package.json"
        if not package.endswith(".json"):
            _fetch(_url(package, version), target + "/" + package.rsplit("/", 1)[1], None)
            return
        where, base = _url(package, version), package[: package.rfind("/")]
    else:
        abi = getattr(sys.implementation, "_mpy", 0) & 0xFF if mpy else 0
        where = "%s/package/%s/%s/%s.json" % (index, abi or "py", package, version or "latest")
        base = None
    version_text = version or "latest"
    print("Installing %s (%s) from %s to %s" % (package, version_text, base or index, target))
    r = http.get(where)
    if r.status_code != 200:
        raise OSError(2, "%s: %d %s" % (where, r.status_code, r.reason))
    said = r.json()
    for path, digest in said.get("hashes", ()):
        _fetch("%s/file/%s/%s" % (index, digest[:2], digest), _inside(target, path), digest)
    for path, url in said.get("urls", ()):
        if base and "://" not in url and not url.startswith(tuple(_SITES)):
            url = base + "/" + url
        _fetch(_url(url, version), _inside(target, path), None)
    for name, wanted in said.get("deps", ()):
        _package(name, index, target, wanted, mpy)


def _inside(target, path):
    if path.startswith("/") or ".." in path.split("/"):
        raise ValueError("a file outside of the target: %s" % path)
    return target + "/" + path


def _url(url, version):
    """The address of github:org/repo/path and the like."""
    for site, form in _SITES.items():
        if url.startswith(site):
            org, repo, path = url[len(site) :].split("/", 2)
            return form % (org, repo, version or "HEAD", path)
    return url


def _fetch(url, path, digest):
    """A file, by way of a .part beside it, so that what is there is whole."""
    if digest and _digest(path, len(digest)) == digest:
        print("Exists:", path)
        return
    print("Copying:", path)
    _make_folders(path)
    r = http.get(url, stream=True)
    part = path + ".part"
    try:
        if r.status_code != 200:
            raise OSError(2, "%s: %d %s" % (url, r.status_code, r.reason))
        with open(part, "wb") as f:
            while True:
                piece = r.read(_CHUNK)
                if not piece:
                    break
                f.write(piece)
    finally:
        r.close()
    if digest and _digest(part, len(digest)) != digest:
        os.remove(part)
        raise ValueError("%s is not what the index says" % url)
    os.rename(part, path)


def _digest(path, n):
    """The first n digits of a file's SHA-256; "" if there is none."""
    h = hashlib.sha256()
    try:
        with open(path, "rb") as f:
            while True:
                piece = f.read(_CHUNK)
                if not piece:
                    return h.hexdigest()[:n]
                h.update(piece)
    except OSError:
        return ""


def _make_folders(path):
    at = path.find("/", 1)
    while at > 0:
        try:
            os.stat(path[:at])
        except OSError:
            os.mkdir(path[:at])
        at = path.find("/", at + 1)
