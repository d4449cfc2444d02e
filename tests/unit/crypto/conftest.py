"""On CPython every test here runs in each tier of kernels; in the image, in the one in use."""

import platform

import pytest

from stack.crypto import kernels

if platform.machine() == "x86_64" and not kernels._asm:
    from stack.crypto.asm.build import blob
    from stack.crypto.asm.host import Host

    kernels.start(Host(), blob())


@pytest.fixture(autouse=True, params=kernels.tiers())
def tier(request):
    before = kernels.tier
    kernels.use(request.param)
    yield request.param
    kernels.use(before)
