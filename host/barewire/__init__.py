"""Barewire's host side: finds QEMU, boots images, makes networks, talks to the console.

    from barewire.guest import Guest
    from barewire.lab import Lab

    with Lab() as lab, Guest(net=lab.tap()) as guest:
        print(guest.exec("import net; print(net.interfaces())"))
"""

__version__ = "0.1.0"
