"""Tables in pieces: the same model as from the whole table, in bounded memory, and no thread left behind."""

import functools
import itertools
import threading

import numpy as np
import pandas as pd
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from models import every_kind, small
from tables import pieces_of

from minictr import AFM, FM, LR, training
from minictr.estimator import stream as streaming
from minictr.fields import Categorical, MultiValued, Numerical
from minictr.fields.windows import cut_windows
from minictr.layers import parameters
from minictr.slots import Slots
from minictr.training import TrainingDiverged

N = 257
FIELDS = [Categorical("user", min_count=2), Categorical("shop", buckets=7), MultiValued("tags"),
          Numerical("price", transform="standard"), Numerical("age", bins=4), Categorical("hour")]


def make_table(n=N, seed=0):
    """A table of all kinds of fields, with missing values and cells of different lengths, and its target."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({
        "user": rng.integers(0, 40, n).astype(str), "shop": rng.choice(["a", "b", None], n),
        "tags": ["|".join(rng.choice(list("xyz"), rng.integers(0, 4))) for _ in range(n)],
        "price": np.where(rng.random(n) < 0.1, np.nan, rng.normal(100, 3, n)), "age": rng.normal(40, 9, n),
        "hour": rng.integers(0, 24, n)})
    table["click"] = (rng.random(n) < 0.3 + 0.4 * (table["hour"] > 12)).astype(int)
    table["weight"] = rng.integers(0, 4, n) / 4
    return table


TABLE = make_table()
X, Y = TABLE.drop(columns=["click", "weight"]), TABLE["click"]
PLAIN = TABLE.drop(columns="weight")
GIVE_UP = 600            # seconds: only a guard against waiting forever for a thread that never comes


def make(cls=FM, **options):
    return cls(**{"fields": FIELDS, "epochs": 2, "batch_size": 16, "learning_rate": 0.02} | options)


def assert_same(one, other):
    """The same vocabularies, weights, counts and losses, bit for bit."""
    assert one.encoder_.get_state()[0] == other.encoder_.get_state()[0]
    for a, b in ((one.encoder_.get_state()[1], other.encoder_.get_state()[1]), (parameters(one), parameters(other))):
        assert a.keys() == b.keys()
        for name in a:
            assert np.array_equal(a[name], b[name]), name
    assert np.array_equal(one.row_counts_, other.row_counts_)
    assert one.task_ == other.task_
    assert one.history_["train_loss"].tolist() == other.history_["train_loss"].tolist()
    np.testing.assert_equal(one.history_["val_loss"].tolist(), other.history_["val_loss"].tolist())
    assert one.history_.attrs["base_loss"] == pytest.approx(other.history_.attrs["base_loss"], rel=1e-5)


@pytest.fixture(autouse=True)
def no_thread_is_left():
    """Whatever a test does, errors included: the threads of before are those of after."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


# ---- the same model as in memory -------------------------------------------------------------------------

@examples(20)
@given(st.lists(st.integers(0, 90), max_size=8), st.sampled_from([1, 7, 50, 100, N, None]),
       st.sampled_from([1, 16, 64]))
def test_whatever_the_pieces_the_model_is_that_of_the_whole_table(sizes, window, batch_size):
    options = {"shuffle_window": window, "batch_size": batch_size, "epochs": 1 if batch_size == 1 else 2}
    whole = make(**options).fit(X, Y)
    assert_same(make(**options).fit(pieces_of(PLAIN, sizes), "click"), whole)


@every_kind
def test_every_model_takes_pieces(name):
    make_it = functools.partial(make, functools.partial(small, name, FIELDS), shuffle_window=60)
    whole = make_it().fit(X, Y)
    assert_same(make_it().fit(pieces_of(PLAIN, [100, 3]), "click"), whole)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sample_weights_are_scaled_over_the_whole_stream(dtype):
    whole = make(dtype=dtype).fit(X, Y, sample_weight=TABLE["weight"])
    stream = make(dtype=dtype).fit(pieces_of(TABLE, [30, 90]), "click", sample_weight="weight")
    assert_same(stream, whole)


def test_pieces_may_be_tuples_of_table_targets_and_weights():
    parts = pieces_of(TABLE, [30, 90])
    pairs = [(part[X.columns], part["click"]) for part in parts]
    triples = [(part[X.columns].to_dict("list"), part["click"].tolist(), part["weight"]) for part in parts]
    assert_same(make().fit(pairs), make().fit(X, Y))
    assert_same(make().fit(triples), make().fit(X, Y, sample_weight=TABLE["weight"]))


def test_regression_validation_and_early_stopping_as_in_memory():
    y = TABLE["age"] / 10 + TABLE["hour"]
    validation = make_table(80, seed=1)
    validation = validation[X.columns], validation["age"] / 10 + validation["hour"]
    options = {"epochs": 30, "learning_rate": 0.3, "patience": 2}
    whole = make(**options).fit(X, y, validation=validation)
    stream = make(**options).fit([(X[:100], y[:100]), (X[100:], y[100:])], validation=validation)
    assert stream.task_ == "regression" and len(stream.history_) < 30
    assert_same(stream, whole)


def test_base_loss_without_validation():
    for y in (Y, TABLE["age"] * 3.0):
        for weights in (None, TABLE["weight"]):
            whole = make(epochs=1).fit(X, y, sample_weight=weights)
            pieces = [(X[:100], y[:100], None if weights is None else weights[:100]),
                      (X[100:], y[100:], None if weights is None else weights[100:])]
            stream = make(epochs=1).fit(pieces)
            assert stream.history_.attrs["base_loss"] == pytest.approx(whole.history_.attrs["base_loss"], rel=1e-5)


def test_kinds_of_fields_are_inferred_from_the_first_piece():
    stream = make(fields=None).fit(pieces_of(PLAIN, [100]), "click")
    assert_same(stream, make(fields=None).fit(X, Y))
    assert stream.encoder_.describe()["kind"].tolist() == ["categorical"] * 3 + ["numerical"] * 2 + ["categorical"]
    assert "click" not in stream.encoder_.field_names


def test_a_csv_file_in_chunks(tmp_path):
    path = tmp_path / "clicks.csv"
    TABLE.to_csv(path, index=False)
    dtypes = {"user": str, "shop": str, "tags": str}
    whole = pd.read_csv(path, dtype=dtypes)
    stream = make().fit(lambda: pd.read_csv(path, dtype=dtypes, chunksize=50), "click", sample_weight="weight")
    assert_same(stream, make().fit(whole[X.columns], whole["click"], sample_weight=whole["weight"]))


def test_an_afm_from_an_fm_keeps_its_vocabularies_on_a_stream():
    fm = make().fit(X, Y)
    pieces = pieces_of(PLAIN, [70, 70])
    whole, stream = (AFM.from_fm(fm, fields=FIELDS, epochs=1, batch_size=16) for _ in range(2))
    assert_same(stream.fit(pieces, "click"), whole.fit(X, Y))


def test_an_afm_from_a_loaded_fm_still_learns_how_long_cells_are(tmp_path):
    make().fit(X, Y).save(tmp_path / "fm.npz")
    fm = FM.load(tmp_path / "fm.npz")
    pieces = pieces_of(PLAIN, [70, 70])
    whole, stream = (AFM.from_fm(fm, fields=FIELDS, epochs=1, batch_size=16) for _ in range(2))
    assert_same(stream.fit(pieces, "click"), whole.fit(X, Y))


# ---- order of the rows -------------------------------------------------------------------------------------

def rows_of_batches(monkeypatch, window, sizes, n=40, batch_size=8):
    """The row numbers in each batch of an epoch, seen through the weight of a numerical field."""
    seen, step = [], training.ChunkedTrainer.step
    monkeypatch.setattr(training.ChunkedTrainer, "step", lambda trainer, slots, y, c=None: (
        seen.append(slots.x[:, 0].astype(int).tolist()), step(trainer, slots, y, c))[1])
    table = pd.DataFrame({"row": np.arange(n, dtype=float), "y": np.arange(n) % 2})
    LR(fields=[Numerical("row")], epochs=1, batch_size=batch_size, shuffle_window=window, learning_rate=1e-9).fit(
        pieces_of(table, sizes), "y")
    monkeypatch.undo()
    return seen


def test_a_window_of_one_keeps_the_order_of_the_file(monkeypatch):
    for sizes in ([], [3, 10, 1], [8] * 5, [1] * 40):
        batches = rows_of_batches(monkeypatch, 1, sizes)
        assert batches == np.arange(40).reshape(5, 8).tolist()


def test_rows_stay_within_their_window(monkeypatch):
    order = np.concatenate(rows_of_batches(monkeypatch, 10, [13, 13]))
    assert sorted(order) == list(range(40)) and order.tolist() != sorted(order)
    for window in range(4):
        assert set(order[10 * window:10 * window + 10]) == set(range(10 * window, 10 * window + 10))


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 16, 17, 18, 25, 26])
@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_batches_of_windows_are_those_of_all_rows(n, batch_size):
    slots = Slots(np.arange(n)[:, None], None, starts=[0])
    for window in (1, 3, 8, 9, n):
        windows = cut_windows([(slots, np.arange(n), None)], window)
        found = [y.tolist() for _, y, _ in training.loop.window_batches(windows, batch_size)]
        assert found == [rows.tolist() for rows in training.loop.batches(np.arange(n), batch_size)]


# ---- passes and threads ------------------------------------------------------------------------------------

def test_a_function_is_called_once_for_the_fields_and_once_an_epoch():
    calls = []

    def pieces():
        calls.append(1)
        yield from pieces_of(PLAIN, [100])

    make(epochs=3).fit(pieces, "click")
    assert len(calls) == 4


def test_pieces_are_read_while_the_model_trains(monkeypatch):
    """The second window is asked for before the first one is done with."""
    asked = threading.Event()
    step = training.ChunkedTrainer.step

    def wait_for_the_next_piece(trainer, slots, y, c=None):
        assert asked.wait(GIVE_UP)
        return step(trainer, slots, y, c)

    def pieces():
        yield TABLE[:100]
        asked.set()
        yield TABLE[100:]

    model = make(epochs=1, fields=FIELDS[:1], shuffle_window=100)
    passes = iter([lambda: iter([TABLE]), pieces])      # the first pass learns the fields
    monkeypatch.setattr(training.ChunkedTrainer, "step", wait_for_the_next_piece)
    model.fit(lambda: next(passes)(), "click")


def test_a_piece_more_than_one_ahead_is_not_read():
    read = []

    def numbers():
        for number in range(5):
            read.append(number)
            yield number

    ahead = streaming.one_ahead(numbers())
    assert next(ahead) == 0
    ahead.close()
    assert read in ([0], [0, 1])


@pytest.mark.parametrize("in_pass", [1, 2, 3])
@pytest.mark.parametrize("at", [0, 1, 3])
def test_an_exception_of_the_users_own_comes_out_as_it_is(in_pass, at):
    calls = []

    def pieces():
        calls.append(1)
        for number, piece in enumerate(pieces_of(TABLE, [20] * 4)):
            if len(calls) == in_pass and number == at:
                raise ValueError("disk full")
            yield piece

    with pytest.raises(ValueError, match=r"^disk full$"):
        make(shuffle_window=20).fit(pieces, "click", sample_weight="weight")
    assert len(calls) == in_pass


class Reader:
    """Like a file: an iterator that holds something until it is closed."""

    def __init__(self, pieces, opened):
        self.pieces, self.opened = iter(pieces), opened
        opened.append(self)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.pieces)

    def close(self):
        self.opened.remove(self)


def test_a_reader_is_closed_after_each_pass_and_on_errors():
    opened = []
    make().fit(lambda: Reader([PLAIN[:50], PLAIN[50:]], opened), "click")
    assert not opened
    with pytest.raises(TrainingDiverged):
        make(learning_rate=1e30, optimizer="sgd", shuffle_window=1).fit(
            lambda: Reader([PLAIN[:50], PLAIN[50:]], opened), "click")
    assert not opened
    with pytest.raises(TypeError, match="mixes"):
        make().fit(lambda: Reader([PLAIN[:50], PLAIN.assign(hour="late"), PLAIN], opened), "click")
    assert not opened


def test_closing_waits_for_the_piece_that_is_being_read():
    reading, go_on, ended = threading.Event(), threading.Event(), []

    def pieces():
        try:
            yield 0
            reading.set()
            assert go_on.wait(GIVE_UP)
            yield 1
        finally:
            ended.append(1)

    ahead = streaming.one_ahead(pieces())
    assert next(ahead) == 0 and reading.wait(GIVE_UP)
    timer = threading.Timer(0.05, go_on.set)
    timer.start()
    ahead.close()
    timer.join()
    assert ended == [1]


def test_what_the_user_opened_is_closed_on_an_error():
    closed = []

    def pieces():
        try:
            for _ in range(100):
                yield PLAIN
        finally:
            closed.append(1)

    with pytest.raises(TrainingDiverged):
        make(learning_rate=1e30, optimizer="sgd").fit(lambda: itertools.islice(pieces(), 3), "click")
    closed.clear()
    with pytest.raises(TrainingDiverged):
        make(learning_rate=1e30, optimizer="sgd", shuffle_window=1).fit(pieces, "click")
    assert len(closed) == 2


def test_ctrl_c_keeps_the_weights_and_leaves_no_thread(monkeypatch, capsys):
    steps, step = [], training.ChunkedTrainer.step

    def press(trainer, slots, y, c=None):
        steps.append(1)
        if len(steps) == 8:
            raise KeyboardInterrupt
        return step(trainer, slots, y, c)

    monkeypatch.setattr(training.ChunkedTrainer, "step", press)
    model = make(shuffle_window=40).fit(pieces_of(PLAIN, [40] * 5), "click")
    assert model.history_.attrs["interrupted"] and "interrupted" in capsys.readouterr().err
    assert 0 < model.row_counts_.sum() < make().fit(X, Y).row_counts_.sum()
    assert np.isfinite(model.decision_function(X)).all()


# ---- partial_fit ---------------------------------------------------------------------------------------------

def test_partial_fit_on_a_stream_is_partial_fit_on_each_piece():
    pieces = pieces_of(TABLE, [90, 60])
    stream = make().partial_fit(iter(pieces), "click", sample_weight="weight")
    loop = make()
    for piece in pieces:
        loop.partial_fit(piece[X.columns], piece["click"], sample_weight=piece["weight"])
    for name, array in parameters(loop).items():
        assert np.array_equal(array, parameters(stream)[name]), name
    assert np.array_equal(loop.row_counts_, stream.row_counts_)
    before = stream.optimizer_.t
    stream.partial_fit((piece[X.columns], piece["click"]) for piece in pieces)
    assert stream.optimizer_.t == 2 * before


# ---- what cannot be used -------------------------------------------------------------------------------------

@pytest.mark.parametrize("stream, y, error, message", [
    (lambda: iter([PLAIN]), "click", TypeError, "can be gone through only once.*lambda: pandas.read_csv"),
    (lambda: [PLAIN], "clock", ValueError, r"begins with row 0 .*no column 'clock'; got \['user'"),
    (lambda: [PLAIN], None, TypeError, "the name of the target's column"),
    (lambda: [PLAIN], Y, TypeError, "y must be the name of a column in each of them, got Series"),
    (lambda: [(X, Y)], "click", TypeError, "do not pass y"),
    (lambda: [(X,)], None, TypeError, "tuple of 1"),
    (lambda: [(X, Y[:5])], None, ValueError, "X has 257 rows and y has 5"),
    (lambda: [(X, Y, -Y)], None, ValueError, "sample weight of at least 0"),
    (lambda: [(X, Y, Y[:9])], None, ValueError, "each row needs one sample weight"),
    (lambda: [(X, Y, 0 * Y)], None, ValueError, "all sample weights are 0"),
    (lambda: [(X, Y), (X, Y, Y)], None, ValueError, "begins with row 257 .*either all pieces"),
    (lambda: [PLAIN, PLAIN.drop(columns="hour")], "click", ValueError,
     r"in the piece that begins with row 257 .*column 'hour' was in fit but is missing"),
    (lambda: [PLAIN, PLAIN.assign(hour="late")], "click", TypeError, "begins with row 257 .*'hour' mixes int and str"),
    (lambda: [PLAIN, PLAIN.assign(price=np.inf)], "click", ValueError, "row 257 .*'price', row 0: inf is infinite"),
    (lambda: [PLAIN, PLAIN.assign(click=np.nan)], "click", ValueError, "row 257 .*y holds nan in row 0"),
    (lambda: [PLAIN, PLAIN.assign(click="no")], "click", TypeError, "row 257 .*y must hold numbers"),
    (lambda: [PLAIN.assign(click=0)], "click", ValueError, "only the class 0"),
    (lambda: [PLAIN[:0], PLAIN[:0]], "click", ValueError, "X gave no rows"),
    (lambda: (lambda: iter([])), "click", ValueError, "X gave no rows"),
    (lambda: (lambda: PLAIN), "click", TypeError, "must return an iterable of DataFrames, got DataFrame"),
    (lambda: (lambda: 3), "click", TypeError, "must return an iterable of DataFrames, got int"),
    (lambda: (lambda: [3]), "click", TypeError, "X must be a DataFrame or a dict of columns.*got int"),
])
def test_what_cannot_be_used_is_said(stream, y, error, message):
    model = make()
    with pytest.raises(error, match=f"(?s){message}"):
        model.fit(stream(), y)
    with pytest.raises(ValueError, match="not fitted"):
        model.predict(X)


def test_partial_fit_on_nothing():
    with pytest.raises(ValueError, match="X gave no rows"):
        make().partial_fit(iter([PLAIN[:0]]), "click")


def test_a_function_that_gives_the_same_iterator_again_is_found_out():
    pieces = iter([PLAIN, PLAIN])
    with pytest.raises(ValueError, match="514 rows in the first pass, but 0 in a later one"):
        make().fit(lambda: pieces, "click")
    passes = iter([[PLAIN, PLAIN], [PLAIN]])
    with pytest.raises(ValueError, match=r"514 rows in the first pass, but 257 in a later one; .*fresh iterable"):
        make().fit(lambda: next(passes), "click")
    passes = iter([[PLAIN], [PLAIN.assign(tags="x|y|z|x|y|z")]])
    with pytest.raises(ValueError, match="more values in a multi-valued field"):
        make().fit(lambda: next(passes), "click")


def test_a_binary_task_names_the_piece_of_a_wrong_target():
    with pytest.raises(ValueError, match=r"begins with row 257 .*row 3 holds 2"):
        make(task="binary").fit([PLAIN, PLAIN.assign(click=[0, 1, 0, 2] + [0] * 253)], "click")


def test_a_new_column_in_a_later_piece_is_refused_unless_the_fields_are_named():
    pieces = [PLAIN, PLAIN.assign(extra=1)]
    with pytest.raises(ValueError, match=r"begins with row 257 .*column 'extra' is not in the first piece"):
        make(fields=None).fit(pieces, "click")
    make(epochs=1).fit(pieces, "click")


def test_a_share_of_a_stream_cannot_be_held_out():
    with pytest.raises(ValueError, match=r"validation=\(X, y\)"):
        make().fit([PLAIN], "click", validation=0.1)


def test_pieces_without_rows_are_left_out():
    assert_same(make().fit([PLAIN[:0], PLAIN[:50], PLAIN[:0], PLAIN[50:], PLAIN[:0]], "click"), make().fit(X, Y))


def test_progress_is_that_of_a_table(capsys):
    make(verbose=True).fit([PLAIN[:50], PLAIN[50:]], "click")
    out = capsys.readouterr().out
    assert "binary (log loss), 257 rows, 6 fields" in out and out.count("epoch") == 2
