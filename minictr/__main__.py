"""``python -m minictr`` is ``minictr``."""

import sys

from .app.cli import main

sys.exit(main())
