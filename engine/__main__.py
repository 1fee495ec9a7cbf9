"""``python -m regisseur.engine``: the command ``regisseur``, also where its directory is not on PATH."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
