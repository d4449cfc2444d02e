"""Capture files: a writer and a reader of classic pcap, and a capture of one interface."""

import os
import select
import socket
import struct
import threading
import time

MAGIC_NS = 0xA1B23C4D
MAGIC_US = 0xA1B2C3D4
LINKTYPE_ETHERNET = 1
ETH_P_ALL = 0x0003
SO_RCVBUFFORCE = 33


class PcapWriter:
    """Writes frames to `path`; after `limit` frames (0: no limit) it only counts them."""

    def __init__(self, path, limit=0):
        self.path, self.limit = path, limit
        self.frames = self.written = 0
        self._file = open(path, "wb", 1 << 16)
        self._file.write(struct.pack("<IHHiIII", MAGIC_NS, 2, 4, 0, 0, 262144, LINKTYPE_ETHERNET))

    def write(self, frame):
        """Append one frame (bytes) with the time of now."""
        self.frames += 1
        if self.limit and self.written >= self.limit:
            return
        self.written += 1
        s, ns = divmod(time.time_ns(), 1_000_000_000)
        self._file.write(struct.pack("<IIII", s, ns, len(frame), len(frame)))
        self._file.write(frame)

    def flush(self):
        self._file.flush()

    def close(self):
        self._file.close()


def read_pcap(path):
    """Yield (time in s, bytes of the frame) of a classic pcap file. ValueError if it is none."""
    with open(path, "rb") as f:
        head = f.read(24)
        magic = struct.unpack("<I", head[:4])[0] if len(head) == 24 else 0
        if magic not in (MAGIC_NS, MAGIC_US):
            raise ValueError(f"{path} is not a little-endian pcap file")
        unit = 1e-9 if magic == MAGIC_NS else 1e-6
        while len(record := f.read(16)) == 16:
            s, sub, kept, _ = struct.unpack("<IIII", record)
            frame = f.read(kept)
            if len(frame) < kept:
                return
            yield s + sub * unit, frame


class Capture:
    """Writes what interface `name` of a Space receives to a pcap file, until `stop()`.

    A thread reads an AF_PACKET socket; the frames are as the kernel hands them to a device
    without offloads if the interface's peer has them switched off (see barewire.lab)."""

    def __init__(self, space, name, path, limit=0):
        self.path = path
        self._writer = PcapWriter(path, limit)
        self._socket = space.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        for option in (SO_RCVBUFFORCE, socket.SO_RCVBUF):
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, option, 64 << 20)
                break
            except PermissionError:  # force needs CAP_NET_ADMIN of the first user namespace
                pass
        self._socket.bind((name, ETH_P_ALL))
        self._socket.setblocking(False)
        self._wake_r, self._wake_w = os.pipe()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._loop, name=f"capture {name}", daemon=True)
        self._thread.start()

    def _drain(self):
        receive = self._socket.recv
        with self._lock:
            try:
                while True:
                    self._writer.write(receive(65600))
                    if self._writer.limit and self._writer.written >= self._writer.limit:
                        return False
            except BlockingIOError:
                return True

    def _loop(self):
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._wake_r, select.POLLIN)
        while True:
            ready = poll.poll()
            # At the limit the socket is closed: the rest of a bulk transfer costs nothing.
            if not self._drain() or any(fd == self._wake_r for fd, _ in ready):
                break
        self._socket.close()

    def frames(self):
        """The frames so far, a list of bytes."""
        with self._lock:
            if self._wake_w >= 0:
                self._writer.flush()
        return [frame for _, frame in read_pcap(self.path)]

    def stop(self):
        """Write what has arrived and close the file. May be called again."""
        if self._wake_w < 0:
            return
        os.write(self._wake_w, b"x")
        self._thread.join()
        os.close(self._wake_w)
        os.close(self._wake_r)
        self._wake_w = -1
        self._writer.close()
