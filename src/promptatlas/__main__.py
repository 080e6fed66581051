"""`python -m promptatlas`."""

import sys

from promptatlas.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
