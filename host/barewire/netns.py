"""Network namespaces that vanish with this process; commands and sockets inside them.

Root makes network namespaces only; another user gets a user namespace around them, in
which they are root, so nothing here needs sudo. What it does need for a guest is
/dev/net/tun to be writable, as it is on an ordinary Debian.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

from barewire.paths import BarewireError

HELPER = Path(__file__).with_name("nshelper.py")


class Namespaces:
    """One helper process with any number of network namespaces; `space(i)` is one of them.

    Raises BarewireError when the kernel does not let us make them."""

    def __init__(self):
        self._rootless = os.geteuid() != 0
        self._lock = threading.Lock()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        argv = ["unshare", "-Urn" if self._rootless else "-n"]
        argv += [sys.executable, "-I", str(HELPER), str(theirs.fileno())]
        self._process = subprocess.Popen(
            argv, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        theirs.close()
        self._channel = ours
        try:
            hello = self._reply()[0]
        except (BarewireError, OSError):
            self._process.wait()
            text = self._process.stderr.read().decode().strip().splitlines()
            self.close()
            raise BarewireError(
                f"cannot make a network namespace: {text[-1] if text else 'unshare failed'}"
            ) from None
        self.pid = hello["pid"]
        self._fds = [hello["fd"]]

    def _reply(self):
        data, fds, _, _ = socket.recv_fds(self._channel, 65536, 8)
        if not data:
            raise BarewireError("the namespace helper ended")
        reply = json.loads(data)
        if "error" in reply:
            raise OSError(reply["error"], reply["text"])
        return reply["ok"], fds

    def call(self, op, ns=0, **args):
        """Do `op` of nshelper.py in namespace `ns`. Its value or a list of descriptors; OSError."""
        with self._lock:
            self._channel.send(json.dumps({"op": op, "ns": ns, **args}).encode())
            value, fds = self._reply()
        return fds or value

    def space(self, index=None):
        """Namespace `index`, or a new one, as a Space."""
        if index is None:
            made = self.call("new_ns")
            self._fds.append(made["fd"])
            index = made["index"]
        return Space(self, index)

    def ns_path(self, index):
        """A path that `ip link set ... netns` and `nsenter --net=` take."""
        return f"/proc/{self.pid}/fd/{self._fds[index]}"

    def enter(self, index):
        """The argv prefix that runs a command in the namespace and kills it with its parent."""
        argv = ["nsenter", "-t", str(self.pid)]
        if self._rootless:
            argv += ["-U", "--preserve-credentials"]
        argv += [f"--net={self.ns_path(index)}", "--", "setpriv", "--pdeathsig", "KILL", "--"]
        return argv

    def close(self):
        """End the helper. What still runs inside keeps its namespace until it ends."""
        self._channel.close()
        self._process.wait()
        self._process.stderr.close()


class Space:
    """One network namespace."""

    def __init__(self, owner, index):
        self.owner, self.index = owner, index
        self.path = owner.ns_path(index)

    def run(self, *argv, check=True, timeout=60, **kwargs):
        """Run a command to its end: CompletedProcess with text stdout and stderr.

        With check, a failure is a BarewireError that quotes what it said."""
        kwargs.setdefault("stdin", None if "input" in kwargs else subprocess.DEVNULL)
        done = subprocess.run(
            self.owner.enter(self.index) + [str(a) for a in argv],
            capture_output=True, text=True, timeout=timeout, **kwargs,
        )  # fmt: skip
        if check and done.returncode:
            said = (done.stderr or done.stdout).strip() or f"status {done.returncode}"
            raise BarewireError(f"{' '.join(map(str, argv))}: {said}")
        return done

    def popen(self, *argv, **kwargs):
        """Start a command; a Popen whose pid is the command's own."""
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(self.owner.enter(self.index) + [str(a) for a in argv], **kwargs)

    def ip(self, *lines):
        """Run lines of `ip -batch`."""
        tool = shutil.which("ip", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if not tool:
            raise BarewireError("no `ip` command: install iproute2")
        self.run(tool, "-batch", "-", input="\n".join(lines) + "\n")

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM, proto=0):
        """A socket that lives in this namespace."""
        (fd,) = self.owner.call("socket", self.index, family=family, kind=kind, proto=proto)
        return socket.socket(family, kind, proto, fileno=fd)

    def socketpair(self):
        """Two connected datagram sockets under this namespace's net.unix.max_dgram_qlen."""
        return [socket.socket(fileno=fd) for fd in self.owner.call("socketpair", self.index)]

    def connect(self, address, timeout=10):
        """A TCP connection from this namespace to (host, port); OSError."""
        s = self.socket()
        s.settimeout(timeout)
        try:
            s.connect(address)
        except BaseException:
            s.close()
            raise
        return s

    def listen(self, address, backlog=16, timeout=10):
        """A listening TCP socket at (host, port); port 0 takes a free one."""
        s = self.socket()
        s.settimeout(timeout)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(address)
        s.listen(backlog)
        return s

    def tap(self, name, vnet_hdr, queues=1):
        """A TAP interface; a descriptor for each queue. BarewireError when /dev/net/tun is closed
        to us."""
        try:
            args = {"name": name, "vnet_hdr": vnet_hdr, "queues": queues}
            return self.owner.call("tap", self.index, **args)
        except OSError as e:
            raise BarewireError(f"cannot make a tap: /dev/net/tun: {os.strerror(e.errno)}") from e

    def offload(self, name, **features):
        """Switch offloads of interface `name`: offload("eth0", tx=0, gso=0, tso=0)."""
        self.owner.call("offload", self.index, name=name, **features)

    def sysctl(self, key, value):
        """Set net/ipv4/... in this namespace, by its path below /proc/sys."""
        self.owner.call("sysctl", self.index, key=key, value=value)
