"""`python -m medinterp.cli`."""

from __future__ import annotations

import sys

from medinterp.cli.main import main

sys.exit(main())
