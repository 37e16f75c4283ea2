"""The command line: see ``minictr.app.cli``, where this now is."""

from .app.cli import main

__all__ = ["main"]
