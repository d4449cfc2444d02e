"""Network devices. `probe.find_nics(hw)` finds them; `device.py` is what they have in common."""
