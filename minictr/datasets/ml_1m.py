"""MovieLens-1M: 1,000,209 ratings of 3,706 movies by 6,040 users, with facts about both.

F. M. Harper, J. A. Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 5(4), 2015.
The licence allows research use and forbids redistribution, so the file does not come with minictr.

`load` gives the three tables as they are. `load_ctr` turns them into the click-like benchmark of
the AutoInt paper (Song et al., CIKM 2019, arXiv 1810.11921); `as_ctr` does the same to any tables
of this form, such as those of `make_ratings`.
"""

import numpy as np
import pandas as pd

from . import _files

HOME = "https://grouplens.org/datasets/movielens/1m/"
URL = "https://files.grouplens.org/datasets/movielens/ml-1m.zip"
MD5 = "c4d9eecfca2ab87c1945afe126590906"  # GroupLens publishes it as ml-1m.zip.md5 beside the zip
ROWS = {"ratings": 1_000_209, "users": 6_040, "movies": 3_883}

# Unix times of 2000 and later are near 1e9; positions in one user's history are in the thousands.
EARLIEST_TIME = 10_000_000


def load(path=None):
    """Load MovieLens-1M as three tables.

    Parameters
    ----------
    path : str, Path or None
        ml-1m.zip, or the folder that holds it or its unpacked files. None: looked for in the folder
        that the environment variable MINICTR_DATA names, then in the cache folder, else downloaded
        (6 MB) and checked.

    Returns
    -------
    dict of DataFrame
        - "ratings": user_id, movie_id, rating (1 to 5), timestamp (all int). The timestamp is in
          seconds since 1970 in the publisher's file. Copies are about in which it is the position
          1..n of the rating in that user's own order; they load just as well.
        - "users": user_id, gender ("F", "M"), age (lower end of the age group: 1, 18, 25, 35, 45,
          50, 56), occupation (0 to 20), zip_code (str).
        - "movies": movie_id, title ("Toy Story (1995)"), genres ("Animation|Children's|Comedy").

    Raises
    ------
    FileNotFoundError
        The data is nowhere and cannot be downloaded.
    ValueError
        The file is damaged, or is not MovieLens-1M.
    """
    archive = _files.locate(path, ["", "ml-1m"], ["ml-1m.zip", "ratings.dat"],
                            home=HOME, url=URL, check=_files.has_md5(MD5))
    columns = {
        "ratings": {"user_id": "int64", "movie_id": "int64", "rating": "int64",
                    "timestamp": "int64"},
        "users": {"user_id": "int64", "gender": str, "age": "int64", "occupation": "int64",
                  "zip_code": str},
        "movies": {"movie_id": "int64", "title": str, "genres": str},
    }
    return {name: _files.read_table(_files.read_member(archive, f"{name}.dat"),
                                    f"{name}.dat of {archive}", columns[name],
                                    sep=b"::", rows=ROWS[name])
            for name in columns}


def load_ctr(path=None, *, ids=False):
    """Load MovieLens-1M as the AutoInt paper's binary task: 739,012 rows, 7 fields.

    It is the same as ``as_ctr(load(path), ids=ids)``; see there for the fields.

    Returns
    -------
    X : DataFrame of 739,012 rows, one column a field
    y : int array, 1 = liked
    """
    return as_ctr(load(path), ids=ids)


def as_ctr(data, *, ids=False):
    """Turn ratings into likes and dislikes with the AutoInt paper's fields.

    A rating below 3 becomes y = 0 (disliked), above 3 becomes y = 1 (liked); rows rated 3 say
    neither and are dropped (paper, section 5.1). The rows keep the order of the ratings.

    Parameters
    ----------
    data : dict of DataFrame, as `load` or `make_ratings` returns it.
    ids : bool. True puts user_id and movie_id before the 7 fields, which the paper leaves out.

    Returns
    -------
    X : DataFrame
        ============ ======= ==================================================================
        gender       str
        age          int     age group
        occupation   int
        zip_code     str
        release_year str     from the title: "1998", and "1960s" and the like before 1970; missing
                             where the title has no year
        request_time float   0 to 1, when the rating was given, min-max scaled over the rows
                             returned
        genres       tuple   of str; inferred as a multi-valued field. Rows share one tuple for
                             each of the few hundred combinations.
        ============ ======= ==================================================================

        Where the timestamp column holds positions 1..n instead of seconds (see `load`), the request
        time is (user_id - 1) + position / n before scaling: user ids follow the calendar roughly,
        and within a user the order is exact.
    y : int array of 0 and 1

    Raises
    ------
    ValueError
        A rating names a user or a movie that is not in its table.

    Examples
    --------
    >>> from minictr import datasets
    >>> X, y = datasets.ml_1m.as_ctr(datasets.make_ratings(seed=0))
    >>> X.columns.tolist()
    ['gender', 'age', 'occupation', 'zip_code', 'release_year', 'request_time', 'genres']
    """
    ratings, users, movies = data["ratings"], data["users"], data["movies"]
    when = ratings["timestamp"]
    if when.max() < EARLIEST_TIME:
        n_of_user = ratings.groupby("user_id")["rating"].transform("size")
        when = (ratings["user_id"] - 1) + when / n_of_user

    kept = (ratings["rating"] != 3).to_numpy()
    ratings, when = ratings[kept], when[kept]
    user = _rows_of(ratings, users, "user_id")
    movie = _rows_of(ratings, movies, "movie_id")
    # One tuple object for each combination, shared by its rows: 739,012 tuples would not be small.
    combinations, names = pd.factorize(movies["genres"])
    tuples = np.fromiter((tuple(name.split("|")) for name in names), dtype=object, count=len(names))

    X = {name: ratings[name].to_numpy() for name in ["user_id", "movie_id"] if ids}
    for name in ["gender", "age", "occupation", "zip_code"]:
        X[name] = users[name].array.take(user)
    X["release_year"] = _release_years(movies["title"]).array.take(movie)
    X["request_time"] = ((when - when.min()) / ((when.max() - when.min()) or 1)).to_numpy()
    X["genres"] = tuples[combinations[movie]]
    return pd.DataFrame(X), (ratings["rating"] > 3).to_numpy().astype(np.int64)


def _rows_of(ratings, table, key):
    """Return, for every rating, the row of `table` with the same `key`."""
    rows = pd.Index(table[key]).get_indexer(ratings[key])
    if (rows < 0).any():
        unknown = ratings[key].to_numpy()[rows < 0][0]
        raise ValueError(f"ratings has {key} {unknown}, which is not in the table of {key}s")
    return rows


def _release_years(titles):
    """Return the year in brackets that ends each title; before 1970 the decade, as "1950s"."""
    years = titles.str.extract(r"\((\d{4})\)\s*(?:\(V\)\s*)?$")[0]
    return years.mask(years < "1970", years.str[:3] + "0s")
