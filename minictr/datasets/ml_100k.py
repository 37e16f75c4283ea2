"""MovieLens-100k: 100,000 ratings of 1,682 movies by 943 users, in the form of MovieLens-1M.

F. M. Harper, J. A. Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 5(4), 2015.
The licence allows research use and forbids redistribution, so the file does not come with minictr.
"""

import pandas as pd

from . import _files

HOME = "https://grouplens.org/datasets/movielens/100k/"
URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
MD5 = "0e33842e24a9c977be4e0107933c0723"  # GroupLens publishes it as ml-100k.zip.md5 beside the zip
ROWS = {"u.data": 100_000, "u.user": 943, "u.item": 1_682, "u.genre": 19}


def load(path=None):
    """Load MovieLens-100k as three tables with the columns of `ml_1m.load`.

    Parameters
    ----------
    path : str, Path or None
        ml-100k.zip, or the folder that holds it or its unpacked files. None: looked for in the
        folder that the environment variable MINICTR_DATA names, then in the cache folder, else
        downloaded (5 MB) and checked.

    Returns
    -------
    dict of DataFrame
        - "ratings": user_id, movie_id, rating (1 to 5), timestamp (seconds since 1970), all int.
        - "users": user_id, gender ("F", "M"), age (years), occupation (str, such as "writer"),
          zip_code (str).
        - "movies": movie_id, title ("Toy Story (1995)"), genres ("Animation|Children's|Comedy").

    Raises
    ------
    FileNotFoundError
        The data is nowhere and cannot be downloaded.
    ValueError
        The file is damaged, or is not MovieLens-100k.
    """
    archive = _files.locate(path, ["", "ml-100k"], ["ml-100k.zip", "u.data"],
                            home=HOME, url=URL, check=_files.has_md5(MD5))

    def read(name, columns, sep=b"|"):
        return _files.read_table(_files.read_member(archive, name), f"{name} of {archive}",
                                 columns, sep=sep, rows=ROWS[name])

    ratings = read("u.data", {"user_id": "int64", "movie_id": "int64", "rating": "int64",
                              "timestamp": "int64"}, sep=b"\t")
    users = read("u.user", {"user_id": "int64", "age": "int64", "gender": str, "occupation": str,
                            "zip_code": str})
    genres = read("u.genre", {"name": str, "number": "int64"})["name"].tolist()
    movies = read("u.item", {"movie_id": "int64", "title": str, "released": str,
                             "released_on_video": str, "address": str,
                             **dict.fromkeys(genres, "int64")})
    joined = ["|".join(name for name, flag in zip(genres, flags, strict=True) if flag)
              for flags in movies[genres].to_numpy()]
    return {
        "ratings": ratings,
        "users": users[["user_id", "gender", "age", "occupation", "zip_code"]],
        "movies": pd.DataFrame({"movie_id": movies["movie_id"], "title": movies["title"],
                                "genres": joined}),
    }
