"""There is data to learn on: embedded generators with a known truth, and loaders for public data sets.

`make_clicks` and `make_ratings` draw data on the spot, offline. `ml_1m`, `ml_100k`, `frappe` and
`criteo` read the real files (none of which may be redistributed, so none comes with minictr):
each has a `load(path=None)` that looks in the given path, then in the folder which the environment
variable MINICTR_DATA names, then in a cache folder, and then asks the publisher's server.
"""

from . import criteo, frappe, ml_1m, ml_100k
from .planted import Clicks
from .synthetic import make_clicks, make_ratings

__all__ = ["Clicks", "criteo", "frappe", "make_clicks", "make_ratings", "ml_1m", "ml_100k"]
