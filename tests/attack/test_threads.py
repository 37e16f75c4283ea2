"""Several threads on one model, or each on its own: every result is the one that a thread alone would have got."""

import sys
import threading

import numpy as np
import pandas as pd
import pytest
from attack.tally import Tally, rounds

from minictr import AFM, FM, LR, AutoInt, DeepFM, Model, datasets, explain
from minictr.layers import parameters
from minictr.training import threads as blas

pytestmark = pytest.mark.long

CLICKS = datasets.make_clicks(600, seed=0)
RATINGS = datasets.make_ratings(40, 30, 400, seed=0)["ratings"]
MAKES = {
    "LR": lambda: LR(epochs=1),
    "FM": lambda: FM(epochs=1, embedding_dim=4),
    "AFM": lambda: AFM(epochs=1, embedding_dim=4, attention_dim=4),
    "AutoInt": lambda: AutoInt(epochs=1, embedding_dim=4, attention_dim=2, num_heads=2, num_layers=2),
    "AutoInt+": lambda: AutoInt(epochs=1, embedding_dim=4, attention_dim=2, num_layers=1, deep_layers=(8,)),
    "DeepFM": lambda: DeepFM(epochs=1, embedding_dim=4, deep_layers=(64, 32), dropout=0.2),
    "DeepFM, batch norm": lambda: DeepFM(epochs=1, embedding_dim=4, deep_layers=(8,), use_bn=True),
}
WITH_TERMS = ("LR", "FM", "AFM", "DeepFM", "DeepFM, batch norm")
WITH_ATTENTION = ("AFM", "AutoInt", "AutoInt+")


@pytest.fixture(autouse=True)
def hurried():
    """Python changes from one thread to another a thousand times as often as it does by itself."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Each model fitted once, and saved: {name: (model, its file)}."""
    folder = tmp_path_factory.mktemp("models")
    found = {}
    for number, (name, make) in enumerate(MAKES.items()):
        model = make().fit(CLICKS.X, CLICKS.y)
        model.save(folder / f"{number}.npz")
        found[name] = model, folder / f"{number}.npz"
    return found


# ---- what a thread does: (name of a model, random numbers, a folder) -> (its name, a function of the model)

def rows_of(rng):
    """Some rows of the table, in any order."""
    return rng.integers(0, len(CLICKS.y), rng.integers(1, 400))


def predicting(name, rng, folder):
    X = CLICKS.X.iloc[rows_of(rng)]
    method = str(rng.choice(["predict", "predict_proba", "decision_function"]))
    return method, lambda model: getattr(model, method)(X)


def explaining(name, rng, folder):
    rows = rows_of(rng)
    X, y = CLICKS.X.iloc[rows], CLICKS.y[rows]
    calls = {"one_prediction": lambda model: explain.one_prediction(model, X[:1], background=X).text(),
             "interaction_effects": lambda model: explain.interaction_effects(
                 model, CLICKS.X, fields=list(CLICKS.X)[:3], background=20, partners=2)}
    if name in WITH_TERMS:
        calls["contributions"] = lambda model: explain.contributions(model, X)
        calls["contributions, wide"] = lambda model: explain.contributions(model, X, wide=True)
    if name in WITH_ATTENTION:
        calls["attention"] = lambda model: explain.attention(model, X)
        calls["attention, per row"] = lambda model: explain.attention(model, X, per_row=True)
    if name in WITH_TERMS[1:] or name in WITH_ATTENTION:
        calls["pair_removal"] = lambda model: explain.pair_removal(model, X, y)
    call = str(rng.choice(list(calls)))
    return call, calls[call]


def saving(name, rng, folder):
    path = folder / f"saved by {rng.integers(2 ** 62)}.npz"

    def save_and_load(model):
        model.save(path)
        return Model.load(path).decision_function(CLICKS.X[:50])

    return "save and load", save_and_load


def cloning(name, rng, folder):
    rows, seed = rng.permutation(len(CLICKS.y)), int(rng.integers(100))

    def fit_a_clone(model):
        fresh = model.clone().set_params(seed=seed).fit(CLICKS.X.iloc[rows], CLICKS.y[rows], validation=0.2)
        return {**parameters(fresh), "history": fresh.history_.drop(columns="seconds")}

    return "clone and fit", fit_a_clone


JOBS = (predicting, explaining, explaining, saving, cloning)


def same(a, b):
    """Whether two results are equal to the bit, whatever kind they are of."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, pd.DataFrame):
        return a.equals(b)
    return np.array_equal(a, b)


def together(functions):
    """Run all at once, each on a thread of its own: what each returned, or the exception that it raised."""
    results, start = [None] * len(functions), threading.Barrier(len(functions))

    def run(number):
        start.wait()
        try:
            results[number] = functions[number]()
        except Exception as error:
            results[number] = error

    workers = [threading.Thread(target=run, args=(number,)) for number in range(len(functions))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return results


def test_threads_on_one_model_and_on_several(fitted, tmp_path):
    """Three to five threads, each with some jobs of its own, on one model or two; often just read from a file."""
    tally, controls = Tally("threads"), blas._openblas_controls()
    n_blas = controls[0]() if controls else None
    for seed in range(rounds(20)):
        rng = np.random.default_rng([12, seed])
        names = rng.choice(list(MAKES), rng.integers(1, 3), replace=False)
        fresh, only_explain = rng.integers(2, size=2).astype(bool)
        models = {name: Model.load(fitted[name][1]) if fresh else fitted[name][0] for name in names}
        work = []
        for _ in range(rng.integers(3, 6)):
            name = str(rng.choice(names))
            jobs = (explaining,) * 6 if only_explain else rng.choice(JOBS, 2)
            work.append((name, [job(name, rng, tmp_path) for job in jobs]))
        alone = [[job(fitted[name][0]) for _, job in jobs] for name, jobs in work]
        found = together([lambda jobs=jobs, model=models[name]: [job(model) for _, job in jobs] for name, jobs in work])
        for (name, jobs), expected, got in zip(work, alone, found, strict=True):
            for number, (what, _) in enumerate(jobs):
                case = f"seed {seed}, {what} of {name}, beside {[(one, [job for job, _ in all]) for one, all in work]}"
                if isinstance(got, Exception):
                    tally.fail(case, f"raised {got!r}")
                elif not same(got[number], expected[number]):
                    tally.fail(case, "another result than alone")
                else:
                    tally.add(what)
        if controls and controls[0]() != n_blas:
            tally.fail(f"seed {seed}", f"left {controls[0]()} BLAS threads of {n_blas}")
    tally.check()


def test_threads_that_ask_for_ratings(tmp_path):
    """Predictions, lists of pairs and recommendations for users, from four threads on one model."""
    tally = Tally("threads on ratings")
    model = FM(epochs=1, embedding_dim=4).fit(
        user_ids=RATINGS["user_id"], item_ids=RATINGS["movie_id"], ratings=RATINGS["rating"])
    users, items = RATINGS["user_id"].unique().tolist(), RATINGS["movie_id"].unique().tolist()
    for seed in range(rounds(20)):
        rng = np.random.default_rng([13, seed])
        work = []
        for _ in range(4):
            user, item, some = rng.choice(users), rng.choice(items), rng.choice(users, 5)
            work.append([
                ("predict", lambda user=user, item=item: model.predict(user_id=user, item_id=item)),
                ("batch_predict", lambda some=some, item=item: model.batch_predict([(user, item) for user in some])),
                ("recommend", lambda user=user: model.recommend(user_id=user, top_k=5))])
        alone = [[job() for _, job in jobs] for jobs in work]
        found = together([lambda jobs=jobs: [job() for _, job in jobs] for jobs in work])
        for jobs, expected, got in zip(work, alone, found, strict=True):
            for number, (what, _) in enumerate(jobs):
                if isinstance(got, Exception) or not same(got[number], expected[number]):
                    tally.fail(f"seed {seed}, {what}", repr(got))
                else:
                    tally.add(what)
    tally.check()
