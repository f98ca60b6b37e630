"""python -m comity: the same as the command."""

from comity.cli import main

main()
