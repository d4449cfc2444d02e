# The default image: the prompt, with nothing of its own.
include("../base/manifest.py")  # noqa: F821
