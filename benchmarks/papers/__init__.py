"""The tables of the papers, each by one command: ``python -m benchmarks.papers TABLE``.

``spec`` says what a table is, ``tables`` has the three of them, ``data`` their rows; ``training`` and ``peers`` train
one system once, ``runner`` everything that is missing, ``results`` keeps a line for each training, and ``page`` makes
the page of them.
"""
