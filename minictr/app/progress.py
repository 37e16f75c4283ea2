"""How far a command is with a table that it reads in pieces."""

import sys
import time

from ..training import duration


class Progress:
    """One line in a terminal, updated now and then; nothing elsewhere."""

    def __init__(self, doing=""):
        self.doing, self.start, self.shown, self.line = doing, time.monotonic(), 0.0, ""
        self.terminal = sys.stdout.isatty()

    def show(self, n_rows, share):
        """Say how many rows are done, and when all will be; ``share`` is that of the file or table, 0 to 1."""
        now = time.monotonic()
        if self.terminal and now - self.shown > 0.2 and share:
            self.shown = now
            left = duration((now - self.start) * (1 / share - 1))
            text = f"{self.doing}{n_rows:,} rows  {share:.0%}  about {left} left"
            print(f"\r{text:{len(self.line)}}", end="", flush=True)
            self.line = text

    def end(self):
        """Remove the line."""
        if self.line:
            print(f"\r{'':{len(self.line)}}\r", end="", flush=True)
