"""``python -m mclrec``: the command line."""

import sys

try:
    from mclrec.cli import main
except KeyboardInterrupt:  # Ctrl-C before the command line has installed its own handling
    sys.stderr.write("interrupted\n")
    sys.exit(130)

main()
