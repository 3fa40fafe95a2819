"""``python -m mclrec``: the command line."""

from mclrec.cli import main

main()
