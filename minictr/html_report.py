"""The page on a model: see ``minictr.app.report``, where this now is."""

from .app.report import write_report

__all__ = ["write_report"]
