"""Whether measures of interactions find those that are known to be there: ``python -m benchmarks.interactions``.

``functions`` and ``archdetect`` have the functions whose interactions are known, ``problems`` the rows, ``systems`` the
models and ``peers`` what others offer; ``measures`` asks a model for its pairs, ``runner`` trains what is missing, and
``page`` makes the page of the results.
"""
