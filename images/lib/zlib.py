# micropython-lib's `zlib`, over `deflate`.
import io

import deflate

MAX_WBITS = 15


def _kind(wbits):
    if wbits < 0:
        return deflate.RAW, -wbits
    return (deflate.GZIP, wbits - 16) if wbits > 15 else (deflate.ZLIB, wbits)


def compress(data, wbits=MAX_WBITS):
    f = io.BytesIO()
    with deflate.DeflateIO(f, *_kind(wbits)) as g:
        g.write(data)
    return f.getvalue()


def decompress(data, wbits=MAX_WBITS):
    return DecompIO(io.BytesIO(data), wbits).read()


def DecompIO(stream, wbits=MAX_WBITS):
    return deflate.DeflateIO(stream, *_kind(wbits))
