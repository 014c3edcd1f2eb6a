"""``python -m geodata`` is the ``geodata`` command."""

from geodata.cli import main

main()
