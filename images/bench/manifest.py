# The benchmark's servers, which `make bench` runs at the prompt, as the main program.
include("../base/manifest.py")  # noqa: F821
module("main.py", opt=2)  # noqa: F821
module("serve.py", base_path="../../tests/bench/in_barewire", opt=2)  # noqa: F821
