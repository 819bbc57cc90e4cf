"""``python -m polymode`` is the `polymode` command."""

import sys

from polymode.cli import main

if __name__ == "__main__":
    sys.exit(main())
