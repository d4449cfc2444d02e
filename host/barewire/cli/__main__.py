"""`python -m barewire.cli`."""

from barewire.cli import main

if __name__ == "__main__":
    main(prog_name="barewire")
