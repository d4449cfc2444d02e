"""The process that lives inside a lab's namespaces and makes things there for us.

Started by barewire.netns as `unshare [-Ur] -n python -I nshelper.py FD`. A multithreaded
process may not enter a user namespace, so sockets and taps are made here and handed over
as file descriptors; they stay in the network namespace they were made in, whoever uses
them. When the socket to the parent closes, this process ends and the namespaces with it.

One request a datagram, JSON: {"op": ..., "ns": index, ...}; one reply, {"ok": value}, maybe
with descriptors, or {"error": errno, "text": ...}.
"""

import array
import ctypes
import fcntl
import json
import os
import socket
import struct
import sys

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
TUNSETVNETHDRSZ = 0x400454D8
IFF_TAP, IFF_MULTI_QUEUE, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x0100, 0x1000, 0x4000
SIOCETHTOOL = 0x8946
ETHTOOL_SET = {"sg": 0x19, "tx": 0x17, "rx": 0x15, "tso": 0x1F, "gso": 0x24, "gro": 0x2C}

libc = ctypes.CDLL(None, use_errno=True)
spaces = []  # descriptors of network namespaces; index 0 is the one we were born in


def _check(rc):
    if rc < 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))


def op_new_ns():
    """A new network namespace; returns its index and its descriptor's number here."""
    _check(libc.unshare(CLONE_NEWNET))
    spaces.append(os.open("/proc/self/ns/net", os.O_RDONLY))
    return {"index": len(spaces) - 1, "fd": spaces[-1]}


def op_socket(family, kind, proto):
    return [socket.socket(family, kind, proto)]


def op_socketpair():
    return list(socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))


def op_tap(name, vnet_hdr, queues):
    """A TAP of that name; with vnet_hdr each frame carries virtio's header of offloads."""
    flags = IFF_TAP | IFF_NO_PI | (IFF_VNET_HDR if vnet_hdr else 0)
    flags |= IFF_MULTI_QUEUE if queues > 1 else 0
    made = []
    for _ in range(queues):
        fd = os.open("/dev/net/tun", os.O_RDWR)
        made.append(os.fdopen(fd, "rb", 0))
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        if vnet_hdr:
            fcntl.ioctl(fd, TUNSETVNETHDRSZ, struct.pack("i", 12))
    return made


def op_offload(name, **features):
    """Switch offloads of an interface: op_offload("eth0", tx=0, gso=0)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for feature, on in features.items():
            value = array.array("I", [ETHTOOL_SET[feature], on])
            address, _ = value.buffer_info()
            fcntl.ioctl(s, SIOCETHTOOL, struct.pack("16sQ16x", name.encode(), address))


def op_sysctl(key, value):
    with open("/proc/sys/" + key, "w") as f:
        f.write(str(value))


OPS = {k[3:]: v for k, v in list(globals().items()) if k.startswith("op_")}


def main():
    channel = socket.socket(fileno=int(sys.argv[1]))
    spaces.append(os.open("/proc/self/ns/net", os.O_RDONLY))
    channel.send(
        json.dumps({"ok": {"pid": int(os.readlink("/proc/self")), "fd": spaces[0]}}).encode()
    )
    while True:
        request = channel.recv(65536)
        if not request:
            return
        args = json.loads(request)
        op, ns = args.pop("op"), args.pop("ns", 0)
        try:
            _check(libc.setns(spaces[ns], CLONE_NEWNET))
            result = OPS[op](**args)
        except OSError as e:
            channel.send(json.dumps({"error": e.errno, "text": str(e)}).encode())
            continue
        if isinstance(result, list):
            socket.send_fds(channel, [b'{"ok": "fds"}'], [r.fileno() for r in result])
            for r in result:
                r.close()
        else:
            channel.send(json.dumps({"ok": result}).encode())


if __name__ == "__main__":
    main()
