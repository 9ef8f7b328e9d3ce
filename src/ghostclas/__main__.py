"""``python -m ghostclas``: the command line."""

import sys

from ghostclas.cli import main

sys.exit(main())
