"""Mozilla's roots for the image: `python3 -m barewire._roots OUT < PEM` writes a module.

The module has ROMFS, the file system that stack/boot.py mounts at /etc/ssl: cacerts.pem, and
cacerts.idx, by which a handshake finds the root that it needs (stack/tls/x509/store.py).
"""

import sys

from barewire import romfs
from stack.tls.x509 import store


def tree(pem):
    """{name: bytes} of /etc/ssl: the certificates without the comments, and their index."""
    bare = b"".join(
        b"-----BEGIN CERTIFICATE-----" + pem[start:end] + b"-----END CERTIFICATE-----\n"
        for start, end in store.pem_spans(pem)
    )
    return {"cacerts.pem": bare, "cacerts.idx": store.make_index(bare)}


def main():
    image = romfs.build(tree(sys.stdin.buffer.read()))
    with open(sys.argv[1], "w") as f:
        f.write("# Mozilla's roots as a ROMFS: host/barewire/_roots.py.\nROMFS = %r\n" % image)


if __name__ == "__main__":
    main()
