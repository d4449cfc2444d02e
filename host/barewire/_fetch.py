"""What a build fetches, once and checked: MicroPython by apt, Mozilla's roots by pip.

MicroPython's source package is in the suite trixie, which a Debian 12 does not list: apt is
run on a source list and state of its own in the build folder, so the system's configuration
is not touched.
Nothing but the standard library is used here.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile

from barewire.paths import BarewireError

VERSION = "1.25.0"
PACKAGE = "micropython=1.25.0+ds-1"
TARBALL = "micropython_1.25.0+ds.orig.tar.xz"
SHA256 = "7b25be99a502f070b2de81dafc08da7051d992325d6e67daa9045a918fffdbea"
CERTIFI = "2026.10.18"
CERTIFI_WHEEL = "certifi-%s-py3-none-any.whl" % CERTIFI
CERTIFI_SHA256 = "73191c47aaa79da394e8fee2dbc2ec827432cab56311122c9e47abf79e390f62"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class BuildError(BarewireError):
    """One clear line for the person at the terminal."""


def micropython(build):
    """The folder of the unpacked source tree under `build`, fetched once."""
    tree = os.path.join(build, "micropython-" + VERSION)
    if os.path.exists(os.path.join(tree, ".complete")):
        return tree
    os.makedirs(build, exist_ok=True)
    tarball = os.path.join(build, TARBALL)
    if not os.path.exists(tarball):
        print("Fetching MicroPython %s (Debian source package, 6 MB)" % VERSION, flush=True)
        _apt_source(os.path.join(build, "apt"), build)
    with open(tarball, "rb") as f:
        if hashlib.sha256(f.read()).hexdigest() != SHA256:
            os.unlink(tarball)
            raise BuildError("wrong checksum: %s (deleted; run again to fetch it anew)" % TARBALL)
    _unpack(tarball, tree)
    return tree


def _unpack(tarball, tree):
    """Unpack into `tree`, whatever the folder inside is called."""
    part = tree + ".part"
    shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(tree, ignore_errors=True)
    with tarfile.open(tarball) as t:
        t.extractall(part)
    (inner,) = os.listdir(part)
    os.rename(os.path.join(part, inner), tree)
    os.rmdir(part)
    open(os.path.join(tree, ".complete"), "w").close()


def _run(args, what, **kw):
    try:
        done = subprocess.run(
            args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw
        )
    except FileNotFoundError:
        raise BuildError("%s is missing, needed for %s" % (args[0], what)) from None
    if done.returncode:
        lines = done.stdout.splitlines() or ["?"]
        errors = [s for s in lines if s.startswith("E:")]
        raise BuildError("%s failed: %s" % (what, (errors or lines)[0]))
    return done.stdout


def _apt_source(work, dest):
    """Let apt fetch the source package from the archive that this machine uses."""
    sites = _run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"],
        "asking apt for its archive",
    ).split()
    sites = [s for s in sites if "security" not in s]
    if not sites:
        raise BuildError("apt knows no archive to fetch from (apt-get indextargets is empty)")
    for folder in ("state/lists/partial", "cache/archives/partial", "etc"):
        os.makedirs(os.path.join(work, folder), exist_ok=True)
    sources = os.path.join(work, "sources.list")
    with open(sources, "w") as f:
        f.write("deb-src [signed-by=%s] %s trixie main\n" % (KEYRING, sites[0]))
    apt = ["apt-get", "-qq"]
    for option in (
        "Dir::Etc::SourceList=" + sources,
        "Dir::Etc::SourceParts=/dev/null",
        "Dir::State=" + os.path.join(work, "state"),
        "Dir::Cache=" + os.path.join(work, "cache"),
        "APT::Sandbox::User=" + ("root" if os.getuid() == 0 else ""),
    ):
        apt += ["-o", option]
    _run(apt + ["update"], "apt-get update for MicroPython's source")
    _run(apt + ["source", "--download-only", PACKAGE], "apt-get source of MicroPython", cwd=dest)


def certifi(build):
    """Mozilla's roots, the bytes of a PEM, from the wheel of the PyPI package certifi."""
    path = os.path.join(build, CERTIFI_WHEEL)
    if not os.path.exists(path):
        print("Fetching Mozilla's roots (certifi %s, 0.2 MB)" % CERTIFI, flush=True)
        _pip_download(build)
    with open(path, "rb") as f:
        if hashlib.sha256(f.read()).hexdigest() != CERTIFI_SHA256:
            os.unlink(path)
            raise BuildError("wrong checksum: %s (deleted; run again)" % CERTIFI_WHEEL)
    with zipfile.ZipFile(path) as z:
        return z.read("certifi/cacert.pem")


def _pip_download(build):
    """By the pip of scripts/ensure's environment, else this Python's, else one made for it."""
    pip = [os.path.join(build, "venv", "bin", "python"), "-m", "pip"]
    if not os.path.exists(pip[0]):
        pip = [sys.executable, "-m", "pip"]
        if importlib.util.find_spec("pip") is None:
            env = os.path.join(build, "pip")
            _run([sys.executable, "-m", "venv", env], "python3 -m venv (package python3-venv)")
            pip[0] = os.path.join(env, "bin", "python")
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    _run(
        pip + ["download", *options, "--dest", build, "certifi==" + CERTIFI],
        "pip download of certifi",
    )
