"""`python -m derailleur` is `derailleur`."""

import sys

from derailleur.cli import main

sys.exit(main())
