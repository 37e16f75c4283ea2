"""Tables of very many columns: work grows as the columns do, and not as their square."""

import sys

import numpy as np
import pandas as pd
import pytest

from minictr import LR, Categorical, MultiValued, Numerical, explain
from minictr.fields import TableEncoder

ROWS = 6


class Work:
    """Counts what is done in its block: functions called, and column names compared or hashed.

    A call into C counts once, however much it does; but where it goes through names (``list.count``, ``in``, a dict of
    all columns), each of them counts, as the names are ``Name``s.
    """

    done = 0

    def __enter__(self):
        Work.done = 0
        sys.setprofile(self.count)
        return self

    def __exit__(self, *error):
        sys.setprofile(None)

    def count(self, frame, event, argument):
        Work.done += event in ("call", "c_call")


class Name(str):
    """A column's name that counts how often it is compared or hashed."""

    def __eq__(self, other):
        Work.done += 1
        return str.__eq__(self, other)

    def __hash__(self):
        Work.done += 1
        return str.__hash__(self)


def wide_table(M):
    """(X, y, fields): few rows of M columns, of all kinds in turn."""
    rng = np.random.default_rng(0)
    names = [Name(f"column {i}") for i in range(M)]
    kinds = [lambda: rng.integers(0, 3, ROWS), lambda: rng.normal(size=ROWS), lambda: rng.choice(["a|b", "b"], ROWS),
             lambda: rng.choice(["x", "y"], ROWS)]
    X = pd.DataFrame({name: kinds[i % 4]() for i, name in enumerate(names)})
    fields = [MultiValued(name) if i % 4 == 2 else Numerical(name, "standard") if i % 4 == 1 else
              Categorical(name) if i % 8 else name for i, name in enumerate(names)]
    return X, np.arange(ROWS) % 2, fields


def saved_and_loaded(X, y, fields, model):
    TableEncoder.from_state(*model.encoder_.get_state())


OF_MANY_COLUMNS = {
    "fit": lambda X, y, fields, model: LR(fields=fields, epochs=1, n_threads=1).fit(X, y),
    "fit, all inferred": lambda X, y, fields, model: LR(epochs=1, n_threads=1).fit(dict(X), y),
    "fit in pieces": lambda X, y, fields, model: LR(fields=fields, epochs=1, n_threads=1).fit([(X[:3], y[:3])] * 2),
    "fit with validation": lambda X, y, fields, model: LR(fields=fields, epochs=1, n_threads=1).fit(
        X, y, validation=(X, y)),
    "partial_fit": lambda X, y, fields, model: model.partial_fit(X, y),
    "predict": lambda X, y, fields, model: model.predict_proba(X),
    "score": lambda X, y, fields, model: model.score(X, y),
    "describe": lambda X, y, fields, model: model.encoder_.describe(),
    "unknown rates": lambda X, y, fields, model: model.encoder_.unknown_rate(X),
    "state": saved_and_loaded,
    "contributions": lambda X, y, fields, model: explain.contributions(model, X[:1]),
    "contributions, wide": lambda X, y, fields, model: explain.contributions(model, X[:1], wide=True),
    "importance of two": lambda X, y, fields, model: explain.permutation_importance(
        model, X, y, fields=list(X)[:2], repeats=1),
    "effects of ten pairs": lambda X, y, fields, model: explain.interaction_effects(
        model, X, pairs=list(zip(X.columns[:10], X.columns[10:20], strict=True)), background=4, partners=2),
}


@pytest.mark.parametrize("what, M", [*((what, 40) for what in OF_MANY_COLUMNS), *(
    pytest.param(what, 1_000, marks=pytest.mark.long) for what in ("fit", "predict"))])
def test_work_grows_as_the_columns_do(what, M):
    done = []
    for n in (M, 2 * M, 4 * M):
        X, y, fields = wide_table(n)
        model = LR(fields=fields, epochs=1, n_threads=1).fit(X, y)
        with Work():
            OF_MANY_COLUMNS[what](X, y, fields, model)
        done.append(Work.done)
    # from 2 M to 4 M columns twice as much comes on top as from M to 2 M; four times as much, were it their square
    assert done[2] - done[1] < 2.2 * (done[1] - done[0]) + 200, done


@pytest.mark.parametrize("M", [50, pytest.param(200, marks=pytest.mark.long)])
def test_the_names_of_all_pairs_are_gone_through_once(M):
    done = []
    for n in (M, 2 * M):
        X, _, _ = wide_table(n)
        pairs = [(i, j) for place, i in enumerate(X.columns) for j in X.columns[place + 1:]]
        with Work():
            explain.effects.chosen_pairs(list(X.columns), pairs)
        done.append(Work.done / len(pairs))
    assert done[1] < 1.2 * done[0], done
