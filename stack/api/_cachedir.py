"""Where a cache's entries lie on a file system: one file each, its first line the key."""

import os


class Folder:
    """The store of stack/http/cache.py. A damaged or foreign file is passed over, and removed."""

    def __init__(self, path):
        self._path = path.rstrip("/")
        self._names = {}  # key -> file name
        self._next = 0
        try:
            os.mkdir(self._path)
        except OSError:
            pass
        for name in os.listdir(self._path):
            if name[-6:] != ".cache":
                continue
            try:
                with open(self._where(name), "rb") as f:
                    key = f.readline().decode()[:-1]
            except (OSError, UnicodeError, ValueError):
                key = ""
            if not key:
                os.remove(self._where(name))
                continue
            self._names[key] = name
            number = name[:-6]
            if number.isdigit():
                self._next = max(self._next, int(number) + 1)

    def _where(self, name):
        return self._path + "/" + name

    def get(self, key):
        name = self._names.get(key)
        if name is None:
            return None
        try:
            with open(self._where(name), "rb") as f:
                f.readline()
                return f.read()
        except OSError:
            return None

    def put(self, key, data):
        name = self._names.get(key)
        if name is None:
            name = "%d.cache" % self._next
            self._next += 1
        # Whole or not at all: it is written beside, and moved.
        with open(self._where("new"), "wb") as f:
            f.write(key.encode() + b"\n")
            f.write(data)
        try:
            os.remove(self._where(name))
        except OSError:
            pass
        os.rename(self._where("new"), self._where(name))
        self._names[key] = name

    def remove(self, key):
        name = self._names.pop(key, None)
        if name is not None:
            try:
                os.remove(self._where(name))
            except OSError:
                pass

    def items(self):
        found = []
        for key in self._names:
            size = os.stat(self._where(self._names[key]))[6] - len(key.encode()) - 1
            found.append((key, size))
        return found
