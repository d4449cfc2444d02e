# MicroPython, asyncio and the module hw alone, without the stack: for looking at the firmware.
include("$(MPY_DIR)/extmod/asyncio")  # noqa: F821
