# micropython-lib's `gzip`, over `deflate`.
import builtins
import io

import deflate

_WBITS = 15


def GzipFile(fileobj):
    return deflate.DeflateIO(fileobj, deflate.GZIP, _WBITS)


def open(filename, mode="rb"):
    return deflate.DeflateIO(builtins.open(filename, mode), deflate.GZIP, _WBITS, True)


def compress(data):
    f = io.BytesIO()
    with GzipFile(f) as g:
        g.write(data)
    return f.getvalue()


def decompress(data):
    with GzipFile(io.BytesIO(data)) as g:
        return g.read()
