"""``python -m minictr`` is ``minictr``."""

import sys

from .cli import main

sys.exit(main())
