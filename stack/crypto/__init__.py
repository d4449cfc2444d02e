"""Cryptography for TLS and DNSSEC: see README.md."""

# Where machine code can run: stack/boot.py puts `hw` here, and kernels.py loads it when needed.
machine = None
