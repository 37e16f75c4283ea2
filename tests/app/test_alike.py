"""How many rows are typically alike: on the page's map, as beside the terms of single predictions."""

import itertools

import numpy as np
import pandas as pd
import pytest
from tables import FIELDS, mixed_table

from minictr import FM
from minictr.app.alike import Alike
from minictr.explain.support import Support

NAMES = ["user", "hour", "price"]


@pytest.mark.parametrize("missing", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("few", [False, True])
def test_it_is_the_median_of_what_stands_beside_a_term(missing, few):
    X, y = mixed_table(300)
    if few:
        X["price"] = X["price"].round() % 4
    model = FM(fields=FIELDS, epochs=1).fit(X.assign(price=X["price"].where(X.index > 0)), y)      # one is missing
    X.loc[np.random.default_rng(1).random(300) < missing, "price"] = np.nan
    fields = [(name,) for name in NAMES] + list(itertools.combinations(NAMES, 2))
    lines = pd.DataFrame([(*names, None)[:2] for names in fields], columns=["field_i", "field_j"], dtype=object)
    counts = Support(model, X).count(X, lines)
    alike = Alike(model, X)
    assert [alike.typical(*names) for names in fields] == [int(np.median(own)) for own in counts.T]
