"""What all models share: scikit-learn's conventions around ``build``, ``forward`` and ``backward``."""

import dataclasses
import itertools

import numpy as np

from .. import persistence, streaming, training
from .. import ratings as ratings_api
from ..checks import as_table, check_rows, check_settings, check_validation, is_share, split_rows, warn
from ..fields import TableEncoder
from ..fields.windows import cut_windows
from ..layers import check_layers, matches, named_layers, parameters, sigmoid
from ..losses import LogLoss, SquaredLoss
from ..optim import SGD, Adagrad, Adam

OPTIMIZERS = {"adam": Adam, "adagrad": Adagrad, "sgd": SGD}


class NotFittedError(ValueError, AttributeError):
    """A method that needs a fitted model was called before ``fit``."""


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class Model:
    """Base class of the models: a subclass writes ``build``, ``forward`` and ``backward``.

    Parameters
    ----------
    name : a name for messages and plots; the class's own if None.
    fields : the fields to use, as ``minictr.fields`` specs or column names; every column, inferred, if None.
    task : "binary" (log loss), "regression" (squared error) or "auto": binary if y holds only 0 and 1.
    epochs, batch_size, learning_rate : as usual; rows are shuffled anew for each epoch.
    shuffle_window : how many rows to shuffle together; 1 keeps them in order. None: all rows of a table, and 250,000
        of a table in pieces; a window has to fit into memory.
    optimizer : "adam", "adagrad" or "sgd".
    lr_multipliers : factors on the learning rate of some parameters, e.g. {"attention": 10}.
    lazy : update only the rows of the tables that a batch touched (see ``minictr.optim``).
    reg : L2 strength lambda of  1/B [sum_b loss_b + lambda ||W||^2];  each model says which W.
    freeze : names of layers or parameters that training leaves as they are, e.g. ("embedding", "linear").
    early_stopping, patience : with validation data, stop when ``patience`` epochs brought nothing better.
        The weights of the best epoch are restored in any case.
    seed : of everything random; the same seed gives the same weights, bit for bit, on the same machine with
        the same versions, whatever the number of threads. None draws a fresh one.
    dtype : "float32", or "float64" for gradient checks.
    n_threads : threads to use; all cores if None.
    plain : train and predict with the layers as they are written in ``minictr.layers``, a whole batch at a time on the
        calling thread, as ``train_step`` does. For breakpoints and edits there: ``fit`` otherwise puts fast twins in
        their place. The results are the same to rounding, and come more slowly.
    verbose : whether ``fit`` shows its progress.

    Attributes after ``fit``
    ------------------------
    task_, loss_, encoder_, optimizer_, history_ (DataFrame), n_features_in_, feature_names_in_, and classes_
    for a binary task; the layers under the names that ``build`` gives them.
    """

    name: str | None = None
    fields: list | None = None
    task: str = "auto"
    epochs: int = 10
    batch_size: int = 256
    learning_rate: float = 0.005
    shuffle_window: int | None = None
    optimizer: str = "adam"
    lr_multipliers: dict | None = None
    lazy: bool = True
    reg: float = 0.0
    freeze: tuple = ()
    early_stopping: bool = True
    patience: int = 3
    seed: int | None = 0
    dtype: str = "float32"
    n_threads: int | None = None
    plain: bool = False
    verbose: bool = False

    regularized = ()            # names of the parameters that ``reg`` is for
    whole_batch_only = False    # True where a row's output depends on the rest of its batch (batch norm)

    # ---- what a subclass writes ------------------------------------------------------------------------

    def build(self, n, M, rng):
        """Create the layers for n values in M fields as attributes of self."""
        raise NotImplementedError

    def forward(self, slots):
        """Logits (B,) of the rows of a Slots."""
        raise NotImplementedError

    def backward(self, dlogit):
        """Gradients of all parameters, from dL/dlogit (B,)."""
        raise NotImplementedError

    def bias(self):
        """The (1,) array that is added to every logit; it starts at the base rate's logit (or the targets' mean)."""
        raise NotImplementedError

    def numbers_per_row(self, M):
        """How many numbers the widest array of the forward pass holds for one row: sets the chunks' size."""
        raise NotImplementedError

    def check_fields(self, M):
        """Raise ValueError, or warn, where the model makes no sense with M fields."""

    def field_contributions(self):
        """What each field added to the logits of the latest forward pass, (B, M), where logits are such sums."""
        raise TypeError(f"the logit of {type(self).__name__} is not a sum over fields and pairs, so it has no exact "
                        "contributions; LR, FM and AFM have them, and DeepFM beside its deep part. For what pairs of "
                        "fields do in any model use explain.interaction_effects, for where an AutoInt looks "
                        "explain.attention")

    def pair_contributions(self):
        """What each pair of fields added, (B, P); with ``field_contributions`` and the bias it makes up the logit."""
        return self.field_contributions()[:, :0]        # a model of fields alone has no pairs

    def deep_contributions(self):
        """What a deep part, which is no such sum, added beside them, without the bias: (B,); None if there is none."""

    # ---- fitting ---------------------------------------------------------------------------------------

    def fit(self, X=None, y=None, *, validation=None, sample_weight=None,
            user_ids=None, item_ids=None, ratings=None, user_features=None, item_features=None, after_epoch=None):
        """Train on a table of named fields, or on ratings of items by users. Starts afresh each time.

        Parameters
        ----------
        X : DataFrame or dict of columns, one column a field.   y : one target a row.
            Or a table in pieces, that need not fit into memory: X an iterable of DataFrames, or a function that
            returns a fresh one for each pass, such as ``lambda: pandas.read_csv(path, chunksize=100_000)``; y the
            name of the target's column in them, sample_weight too. Or each piece is a tuple (X, y) or (X, y,
            sample_weight), and y is left out. Kinds of fields that are not given are inferred from the first piece.
            There is one pass to learn the fields and one for each epoch; pieces are read on another thread.
        validation : data for ``history_`` and early stopping: a share such as 0.1 (drawn at random and left
            out of training, vocabularies included), or a pair (X, y). With pieces: a pair, in memory.
        sample_weight : one weight a row, at least 0; scaled to mean 1.
        user_ids, item_ids, ratings : instead of X and y: see ``minictr.ratings``.
        user_features, item_features : with them, DataFrames indexed by id (or with the id as a column).
        after_epoch : function of (model, line), called after each epoch to watch the training, such as an
            ``explain.AttentionOverEpochs``. The model can predict and be explained then; line is a dict of the epoch's
            line of ``history_``. It is no setting of the model: a function is neither saved nor cloned.

        Returns: self.
        """
        self.forget()
        if user_ids is not None or item_ids is not None or ratings is not None:
            if X is not None or y is not None:
                raise TypeError("give either X and y, or user_ids, item_ids and ratings")
            return ratings_api.fit(self, user_ids, item_ids, ratings, user_features, item_features,
                                   validation, sample_weight, after_epoch)
        if user_features is not None or item_features is not None:
            raise TypeError("user_features and item_features go with user_ids, item_ids and ratings")
        if streaming.is_stream(X):
            return streaming.fit(self, X, y, validation, sample_weight, after_epoch)
        if X is None or y is None:
            raise TypeError("fit needs X and y, or user_ids=, item_ids= and ratings=")
        X, y, c = check_rows(X, y, sample_weight)
        self.choose_task(y)
        self.rating_data_ = None
        seeds = self.seeds()
        if is_share(validation):
            train, held_out = split_rows(len(y), validation, seeds["split"])
            self.fit_encoder(X.iloc[train], fields=self.fields)
            slots = self.encoder_.encode(X)
            validation = slots[held_out], y[held_out], None if c is None else c[held_out]
            slots, y, c = slots[train], y[train], None if c is None else c[train]
        else:
            self.fit_encoder(X, fields=self.fields)
            slots = self.encoder_.encode(X)
            validation = self.encode_validation(validation)
        return self.fit_slots((slots, y, c), validation, seeds, after_epoch)

    def encode_validation(self, validation):
        """A pair (X, y) as (Slots, y, None); None stays None."""
        if validation is None:
            return None
        X, y, c = check_rows(*check_validation(validation, ("X", "y")))
        self.check_targets(y)
        return self.encoder_.encode(X), y, c

    def forget(self):
        """Remove what was learned, so that a fit that fails does not leave half of it behind."""
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)

    def fit_slots(self, data, validation, seeds, after_epoch=None):
        """Train on rows that ``encoder_`` has encoded: tuples (Slots, y, weights or None)."""
        if validation is not None and validation[2] is not None and not validation[2].any():
            raise ValueError("all validation rows have weight 0: there is nothing to measure; take a larger share")
        slots, y, c = data
        self.start(np.average(y, weights=c), seeds)
        self.row_counts_ += self.count_rows(slots)
        data = slots, *self.as_dtype(y, c)
        return self.train(self.windows(data), len(slots), data[1:], validation, seeds, after_epoch)

    def windows(self, data):
        """Encoded rows that are in memory, as the windows that are shuffled."""
        if self.shuffle_window in (None, 1):        # all rows are shuffled together, or none
            return [data]
        return list(cut_windows([data], self.shuffle_window))

    def train(self, windows, n_rows, targets, validation, seeds, after_epoch=None):
        """Train after ``start``; see ``training.fit`` for windows, n_rows and targets."""
        if validation is not None:
            validation = validation[0], *self.as_dtype(*validation[1:])
        self.history_ = training.fit(self, windows, n_rows, targets, validation, seeds, after_epoch=after_epoch)
        return self

    def prepare(self, X, y, sample_weight=None):
        """Everything that ``fit`` does before its first step: infer the fields, build the layers.

        For going through training by hand: ``model.prepare(X, y)``, then ``model.train_step(X, y)``.
        """
        self.forget()
        X, y, c = check_rows(X, y, sample_weight)
        self.choose_task(y)
        self.rating_data_ = None
        self.fit_encoder(X, fields=self.fields)
        self.start(np.average(y, weights=c), self.seeds())
        return self

    def train_step(self, X, y, sample_weight=None):
        """One plain training step on these rows, after ``prepare`` or ``fit``; returns their loss before the update.

        It is ``encode`` and ``minictr.training.step.step``: the rows are one batch, in one piece, and its caches and
        gradients stay in the layers, to be looked at.
        """
        slots, y, c = self.encode(X, y, sample_weight)
        self.row_counts_ += self.count_rows(slots)
        with training.training_mode(self):
            return training.step(self, slots, y, c)

    def encode(self, X, y, sample_weight=None):
        """Rows of a table as the layers take them, after ``prepare`` or ``fit``: (Slots, y, weights or None).

        >>> from minictr import LR, datasets
        >>> clicks = datasets.make_clicks(200, seed=0)
        >>> slots, y, c = LR().prepare(clicks.X, clicks.y).encode(clicks.X[:2], clicks.y[:2])
        >>> slots.ids.shape, y.dtype, c
        ((2, 10), dtype('float32'), None)
        """
        self.check_fitted()
        X, y, c = check_rows(X, y, sample_weight)
        self.check_targets(y)
        return self.encoder_.encode(X), *self.as_dtype(y, c)

    def partial_fit(self, X, y=None, sample_weight=None):
        """Go on training for one pass over these rows, with the fields and vocabularies of the first ones.

        The optimizer goes on too, also after ``load`` of a file saved with ``optimizer=True``. For a table in pieces
        (see ``fit``; an iterator that can be gone through only once will do) this is ``partial_fit`` on each piece in
        turn. Returns: self.
        """
        if streaming.is_stream(X):
            return streaming.partial_fit(self, X, y, sample_weight)
        if not self.__sklearn_is_fitted__():
            self.prepare(X, y, sample_weight)
        return self.train_once(self.encode(X, y, sample_weight))

    def train_once(self, data):
        """One pass over encoded rows: (Slots, y, weights or None)."""
        self.row_counts_ += self.count_rows(data[0])
        training.fit_once(self, self.windows(data), self.seeds())
        return self

    def start(self, mean, seeds):
        """Build the layers, let the bias predict the mean of the targets, make the optimizer."""
        M = len(self.encoder_.field_names)
        self.check_fields(M)
        self.build(self.encoder_.n_ids, M, np.random.default_rng(seeds["init"]))
        check_layers(self, self.get_params())
        self.row_counts_ = np.zeros(self.encoder_.n_ids, np.int64)       # training counts what it has seen
        self.initialise(mean)
        self.new_optimizer()

    def new_optimizer(self):
        """Make ``optimizer_`` afresh, and check the settings that name parameters."""
        if self.reg and not self.regularized:
            raise ValueError(f"reg has nothing to act on in {type(self).__name__} with these settings; set reg=0")
        names = list(parameters(self))
        for prefixes, what in ((self.freeze, "freeze"), (self.lr_multipliers or {}, "lr_multipliers")):
            for prefix in prefixes:
                if not any(matches(name, [prefix]) for name in names):
                    raise ValueError(f"{what} names {prefix!r}, which is no parameter of this "
                                     f"{type(self).__name__}; there are {', '.join(names)}")
        self.optimizer_ = OPTIMIZERS[self.optimizer](
            self.learning_rate, lr_multipliers=self.lr_multipliers, lazy=self.lazy)
        training.seed_dropout(self, self.seeds()["dropout"], 0)

    def initialise(self, mean):
        """Start the bias where the model predicts the mean of the training targets for every row."""
        if self.task_ == "binary" and mean in (0, 1):
            raise ValueError(f"the rows to train on hold only the class {mean:g} (as far as they have a "
                             "sample weight above 0); a binary task needs both 0 and 1")
        self.bias()[:] = np.log(mean / (1 - mean)) if self.task_ == "binary" else mean

    def fit_encoder(self, *tables, fields):
        """Learn the fields' vocabularies from the training table (or tables, or pieces: see ``TableEncoder.fit``)."""
        self.encoder_ = TableEncoder(fields).fit(*tables)

    def count_rows(self, slots):
        """How often each row of the tables is looked up, (n,); slots of weight 0 only fill up."""
        counts = np.zeros(self.encoder_.n_ids, np.int64)
        for start in range(0, len(slots.ids), 100_000):         # np.bincount copies the ids, as larger numbers
            part = slice(start, start + 100_000)
            ids = slots.ids[part] if slots.x is None else slots.ids[part][slots.x[part] != 0]
            counts += np.bincount(ids.ravel(), minlength=len(counts))
        return counts

    def fill_untrained_rows(self):
        """Give values that training never saw their field's mean row, weighted by how often each was seen.

        So an unknown user is scored as an average user: with the mean of the users' weights and vectors.
        """
        bounds = [*self.encoder_.offsets, self.encoder_.n_ids]
        for start, stop in itertools.pairwise(bounds):
            counts = self.row_counts_[start:stop]
            untrained = counts == 0
            if not untrained.any() or untrained.all():
                continue
            share = (counts / counts.sum()).astype(self.dtype)
            for layer_name, layer in named_layers(self):
                for name in layer.tables:
                    if not matches(f"{layer_name}.{name}", self.freeze):
                        table = layer.params[name][start:stop]
                        table[untrained] = np.tensordot(share, table, axes=1)         # whatever a row's shape

    def seeds(self):
        """Independent random streams, so that using more of one does not move the others."""
        names = ("init", "order", "dropout", "split")
        return dict(zip(names, np.random.SeedSequence(self.seed).spawn(len(names)), strict=True))

    def choose_task(self, y, ratings=False):
        """Set the task from ``task`` and the targets; ratings are numbers unless the task says binary."""
        check_settings(self)
        clicks = not ratings and bool(np.isin(y, (0, 1)).all())
        self.set_task(("binary" if clicks else "regression") if self.task == "auto" else self.task)
        if self.task == "auto" and not clicks and not ratings and len(values := np.unique(y)) == 2:
            warn(f"y holds two values, {values[0]:g} and {values[1]:g}, which are taken as numbers (squared loss). If "
                 "they mean no click and click, map them to 0 and 1; else pass task=\"regression\" to say so")
        self.check_targets(y)

    def set_task(self, task):
        """Set what follows from the task: the loss and, for a binary one, the classes."""
        self.task_ = task
        self.loss_ = LogLoss if task == "binary" else SquaredLoss
        if task == "binary":
            self.classes_ = np.array([0, 1])

    def check_targets(self, y):
        """Raise ValueError where a binary task has a target that is neither 0 nor 1."""
        if self.task_ == "binary" and not np.isin(y, (0, 1)).all():
            row = int(np.flatnonzero(~np.isin(y, (0, 1)))[0])
            raise ValueError(f"a binary task needs y of 0 and 1, but row {row} holds {y[row]:g}; "
                             "map the labels, or pass task=\"regression\"")

    def as_dtype(self, *arrays):
        """Targets and weights in the model's dtype; None stays None."""
        cast = []
        for array in arrays:
            if array is not None:
                with np.errstate(over="ignore"):
                    array = array.astype(self.dtype)
                if not np.isfinite(array).all():
                    raise ValueError(f"y or the weights are too large for {self.dtype}; change their unit")
            cast.append(array)
        return tuple(cast)

    # ---- predicting ------------------------------------------------------------------------------------

    def decision_function(self, X):
        """The logit of each row (binary task), or the predicted value (regression): (N,)."""
        self.check_fitted()
        return self.predict_slots(self.encoder_.encode(as_table(X)))

    def predict_slots(self, slots):
        """The logit, or predicted value, of rows that ``encoder_`` has encoded: (N,)."""
        return training.predict_logits(self, slots)

    def predict_proba(self, X):
        """Probabilities of no click and of a click, (N, 2), as scikit-learn has it."""
        self.check_fitted()
        if self.task_ != "binary":
            raise TypeError("this model predicts numbers (task 'regression'): use predict")
        p_click = sigmoid(self.decision_function(X))
        return np.column_stack([1 - p_click, p_click])

    def predict(self, X=None, item=None, *, user_id=None, item_id=None):
        """For a table X: the label 0 or 1 (binary task) or the predicted value of each row, (N,).

        For a user and an item, as ``predict(user_id=, item_id=)`` or ``predict(user, item)``: one float, the
        predicted rating (see ``minictr.ratings``).
        """
        if item is not None or item_id is not None or user_id is not None:
            return ratings_api.predict(self, X if user_id is None else user_id,
                                           item if item_id is None else item_id)
        if X is None:
            raise TypeError("predict needs a table X, or user_id= and item_id=")
        out = self.decision_function(X)
        return (out >= 0).astype(np.int64) if self.task_ == "binary" else out

    def batch_predict(self, pairs):
        """Predicted ratings of a list of (user, item) pairs, (N,)."""
        return ratings_api.batch_predict(self, pairs)

    def recommend(self, user_id, top_k=10, *, exclude_seen=True, return_scores=False):
        """The ids of the ``top_k`` items with the highest predicted rating, best first."""
        return ratings_api.recommend(self, user_id, top_k, exclude_seen, return_scores)

    def score(self, X, y, sample_weight=None):
        """Accuracy (binary task) or R^2 (regression), scikit-learn's defaults."""
        X, y, c = check_rows(X, y, sample_weight)
        c = np.ones(len(y)) if c is None else c
        prediction = self.predict(X)
        if self.task_ == "binary":
            return float(np.average(prediction == y, weights=c))
        residual = np.sum(c * (y - prediction) ** 2)
        spread = np.sum(c * (y - np.average(y, weights=c)) ** 2)
        if spread == 0:             # R^2 is not defined then; scikit-learn's answer
            return float(residual == 0)
        return float(1 - residual / spread)

    def chunk_rows(self, batch_rows):
        """How many rows to process at once, so that the widest array of a chunk stays in the cache."""
        return training.chunk_rows(
            self.numbers_per_row(len(self.encoder_.field_names)), batch_rows, self.whole_batch_only)

    def check_fitted(self):
        """Raise NotFittedError before ``fit``."""
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet: call fit first")

    # ---- saving ----------------------------------------------------------------------------------------

    def save(self, path, *, optimizer=False):
        """Write the fitted model to one file, of any name; with its optimizer's moments on request."""
        self.check_fitted()
        persistence.save(self, path, optimizer)

    @classmethod
    def load(cls, path):
        """Read a model that ``save`` wrote; its predictions are the same to the bit."""
        return persistence.load(cls, path)

    # ---- scikit-learn's conventions --------------------------------------------------------------------

    def get_params(self, deep=True):
        """The constructor's arguments and their values."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def set_params(self, **params):
        """Change constructor arguments; returns self."""
        for name, value in params.items():
            if name not in self.get_params():
                raise ValueError(f"{type(self).__name__} has no parameter {name!r}; it has "
                                 f"{', '.join(self.get_params())}")
            setattr(self, name, value)
        return self

    def clone(self):
        """A new, unfitted model with the same parameters."""
        return type(self)(**self.get_params())

    __sklearn_clone__ = clone       # scikit-learn's own would return a fitted ``init_from`` unfitted

    def __sklearn_tags__(self):
        """What scikit-learn asks of an estimator; only called by it, so it is there to import from."""
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        binary = getattr(self, "task_", self.task) != "regression"
        return Tags(
            estimator_type="classifier" if binary else "regressor", target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(multi_class=False) if binary else None,
            regressor_tags=None if binary else RegressorTags(),
            input_tags=InputTags(two_d_array=True, categorical=True, string=True, allow_nan=True))

    def __sklearn_is_fitted__(self):
        return hasattr(self, "optimizer_")

    @property
    def n_features_in_(self):
        """Number of fields that the model was fitted on."""
        self.check_fitted()
        return len(self.encoder_.field_names)

    @property
    def feature_names_in_(self):
        """Names of those fields, in order."""
        self.check_fitted()
        return np.array(self.encoder_.field_names, dtype=object)

    def __repr__(self):
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        changed = [f"{name}={value!r}" for name, value in self.get_params().items() if value != defaults[name]]
        return f"{type(self).__name__}({', '.join(changed)})"
