"""Fixtures come from barewire.rig; what a bridged test leaves in a capture is checked
here, by descriptions and by tshark that know nothing of the stack."""

pytest_plugins = ["barewire.rig"]


def pytest_barewire_capture(path, macs):
    from tests.wire.check import check_capture

    return check_capture(path, macs)
