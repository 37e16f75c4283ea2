"""Threads and BLAS: see ``minictr.training.threads``, where this now is."""

from .training.threads import Threads, n_cores, one_blas_thread

__all__ = ["Threads", "n_cores", "one_blas_thread"]
