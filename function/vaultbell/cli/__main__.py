"""`python -m vaultbell.cli`."""

import sys

from vaultbell.cli import main

sys.exit(main())
