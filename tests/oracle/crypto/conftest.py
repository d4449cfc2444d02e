"""Every test here that asks for `tier` runs once for each tier of kernels."""

import platform

import pytest

from stack.crypto import kernels

if platform.machine() == "x86_64" and not kernels._asm:
    from stack.crypto.asm.build import blob
    from stack.crypto.asm.host import Host

    kernels.start(Host(), blob())


@pytest.fixture(params=kernels.tiers())
def tier(request):
    before = kernels.tier
    kernels.use(request.param)
    yield request.param
    kernels.use(before)
