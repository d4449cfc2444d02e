"""Debian's avahi on a lab's host: daemon and clients, with a message bus of their own."""

import shutil

from barewire.services import Service, _program

_BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={bus}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/> <allow own="*"/> <allow send_type="method_call"/>
    <allow send_destination="*"/> <allow receive_sender="*"/> <allow send_requested_reply="true"/>
  </policy>
</busconfig>
"""

_AVAHI = """
[server]
host-name={name}
use-ipv4=yes
use-ipv6=yes
allow-interfaces=eth0
enable-dbus=yes
[publish]
publish-workstation=no
publish-hinfo=no
publish-aaaa-on-ipv4=yes
publish-a-on-ipv6=yes
[rlimits]
"""


class Avahi:
    """`run(...)` runs avahi's clients on the host."""

    def __init__(self, host, name, folder, services=()):
        self.host = host
        folder.mkdir(parents=True, exist_ok=True)
        bus = folder / "bus"
        (folder / "bus.conf").write_text(_BUS.format(bus=bus))
        (folder / "avahi.conf").write_text(_AVAHI.format(name=name))
        self._env = ["env", f"DBUS_SYSTEM_BUS_ADDRESS=unix:path={bus}"]
        argv = [_program("dbus-daemon"), "--nofork", f"--config-file={folder / 'bus.conf'}"]
        self.bus = Service(host, "dbus", argv, bus.exists, 30)
        # Its pid and its socket are at a fixed place.
        daemon = (
            "mount -t tmpfs none /run && mkdir -p /run/avahi-daemon && exec "
            f"{_program('avahi-daemon')} -f {folder / 'avahi.conf'} --no-drop-root --no-chroot "
            "--no-rlimits --no-proc-title"
        )
        argv = [*self._env, "unshare", "-m", "sh", "-c", daemon]
        self.daemon = Service(host, f"avahi-{name}", argv, self._established, 60)

    def _established(self):
        return "Server startup complete" in self.log()

    def log(self):
        path = self.daemon.log if hasattr(self, "daemon") else None
        if path is None:
            found = list(self.host.lab.directory.glob(f"{self.host.name}-avahi-*/log"))
            return found[0].read_text() if found else ""
        return path.read_text()

    def run(self, *argv):
        """What a client has said."""
        program = shutil.which(argv[0]) or argv[0]
        return self.host.run(*self._env, program, *argv[1:], check=False, timeout=60).stdout
