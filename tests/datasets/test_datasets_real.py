"""The loaders on the real files, where the environment variable MINICTR_DATA says they are."""

import os
from pathlib import Path

import numpy as np
import pytest

from minictr.datasets import criteo, frappe, ml_1m, ml_100k

DATA = os.environ.get("MINICTR_DATA")
pytestmark = pytest.mark.long


def needs(name):
    """Skip the test unless the file or folder `name` is there."""
    return pytest.mark.skipif(DATA is None or not (Path(DATA) / name).exists(),
                              reason=f"needs {name} in the folder that MINICTR_DATA names")


@needs("ml-1m.zip")
def test_ml_1m():
    data = ml_1m.load()
    ratings, users, movies = data["ratings"], data["users"], data["movies"]
    assert ratings["rating"].value_counts().sort_index().tolist() == [
        56_174, 107_557, 261_197, 348_971, 226_310]
    assert ratings["rating"].mean() == pytest.approx(3.581564, abs=5e-7)
    assert ratings["movie_id"].nunique() == 3_706
    assert users["user_id"].tolist() == list(range(1, 6_041))
    assert set(users["age"]) == {1, 18, 25, 35, 45, 50, 56}
    assert users["zip_code"].str.len().min() == 5  # leading zeros are kept
    assert movies["title"].str.contains("é").sum() > 10  # latin-1
    assert movies["genres"].str.split("|").explode().nunique() == 18


@needs("ml-1m.zip")
def test_ml_1m_ctr():
    X, y = ml_1m.load_ctr()
    assert X.shape == (739_012, 7)
    assert (y.sum(), (1 - y).sum()) == (575_281, 163_731)
    assert not X.isna().any(axis=None)
    counts = X.drop(columns=["request_time", "genres"]).nunique()
    assert counts.to_dict() == {"gender": 2, "age": 7, "occupation": 21, "zip_code": 3_439,
                                "release_year": 6 + 31}  # 1910s to 1960s, 1970 to 2000
    assert (X["request_time"].min(), X["request_time"].max()) == (0, 1)
    assert X["genres"].map(id).nunique() == X["genres"].nunique() == 301


@needs("ml-100k.zip")
def test_ml_100k():
    data = ml_100k.load()
    assert data["ratings"]["rating"].mean() == pytest.approx(3.52986)
    assert data["ratings"]["timestamp"].min() > ml_1m.EARLIEST_TIME
    assert data["users"].shape == (943, 5) and data["movies"].shape == (1_682, 3)
    assert (data["movies"]["genres"] != "").all()


@needs("frappe")
def test_frappe():
    data = frappe.load()
    positives = {name: int((table["label"] == 1).sum()) for name, table in data.items()}
    assert positives["train"] == 67_604
    assert sum(positives.values()) == 96_203  # the log of the AFM paper, each with two negatives
    assert sum(len(table) for table in data.values()) == 288_609
    first = [table[list(frappe.FIRST_ID)].min() for table in data.values()]
    assert np.min(first, axis=0).tolist() == [0] * 10


@needs("criteo-8k")
def test_criteo():
    rows = {split: len(criteo.load(split=split)) for split in ["train", "dev", "test"]}
    assert rows == {"train": 7_200, "dev": 409, "test": 391}
    table = criteo.load()
    assert table.shape == (7_200, 40)
    assert set(table["label"]) == {0, 1}
    assert 0.2 < table["label"].mean() < 0.25
    assert table[criteo.CATEGORIES].map(len, na_action="ignore").isin([8, np.nan]).all(axis=None)
    assert table["C1"].notna().all() and table["I1"].isna().any()
