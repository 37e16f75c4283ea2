"""What all models share: settings, fitting and predicting around ``build``, ``forward`` and ``backward``."""

import dataclasses

import numpy as np

from .. import training
from ..checks import COMMON, all_finite, check_settings
from ..fields import TableEncoder
from ..layers import check_layers, matches, parameters
from ..optim import OPTIMIZERS
from .as_source import as_source
from .by_hand import ByHand
from .checkpoint import Checkpoint, check_checkpoint
from .conventions import Conventions
from .persistence import Savable
from .predictions import Predictions
from .ratings import Ratings
from .registry import models_with, register
from .task import Task


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class Model(ByHand, Conventions, Predictions, Ratings, Savable):
    """Base class of the models: a subclass writes ``build``, ``forward``, ``backward`` and ``bias``.

    It registers itself (``minictr.estimator.registry``), and says in class attributes what the rest of the library asks
    of minictr's own models: ``paper``, ``equation`` in one line, ``tiny`` settings for examples, ``variants`` of its
    settings for tests. A class of your own needs none of them.

    Parameters
    ----------
    name : a name for messages and plots; the class's own if None.
    fields : the fields to use, as ``minictr.fields`` specs or column names; every column, inferred, if None.
    task : "binary" (log loss), "regression" (squared error) or "auto": binary if y holds only 0 and 1. Numbers far from
        0 with a small spread are trained on less a centre, ``task_.centre`` (see ``Task.centred``).
    epochs, batch_size, learning_rate : as usual; rows are shuffled anew for each epoch.
    shuffle_window : how many rows to shuffle together; 1 keeps them in order. None: all rows of a table, and 250,000
        of a table in pieces (fewer of rows of more than 500 slots); a window has to fit into memory.
    optimizer : "adam", "adagrad", "sgd" or "ftrl".
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

    paper, equation = None, ""  # a registry.Paper
    tiny = {}
    variants = {}
    checks = COMMON             # of the settings; a subclass has ``checks`` of its own

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        register(cls)

    # ---- what a subclass writes ------------------------------------------------------------------------

    def build(self, n, M, rng):
        """Create the layers for n values in M fields as attributes of self."""
        raise NotImplementedError

    def forward(self, slots):
        """Logits s (B,) of the rows of a Slots."""
        raise NotImplementedError

    def backward(self, ds):
        """Gradients of all parameters, from dL/ds (B,)."""
        raise NotImplementedError

    def bias(self):
        """The (1,) array that is added to every logit; it starts at the base rate's logit (or the targets' mean)."""
        raise NotImplementedError

    def check_fields(self, M):
        """Raise ValueError, or warn, where the model makes no sense with M fields."""

    def undrawn(self):
        """How many parameters settings alone ask for that ``build`` does not draw: ``load`` counts them beforehand."""
        return 0

    def terms(self):
        """What made up the logits of the latest forward pass, beside the bias: {name of a block: (B, terms)}.

        "fields" has one term for each field, (B, M), "pairs" one for each pair of fields, (B, P), in the order of
        ``layers.field_pairs``; any other block is called by its name alone, such as "deep part". The bias and all terms
        of a row add up to its logit.

        Raises: TypeError where a logit is no such sum.
        """
        raise TypeError(f"the logit of {type(self).__name__} is not a sum of terms, so it has no exact contributions; "
                        f"{models_with('terms')} have them. For what pairs of fields do in any model use "
                        "explain.interaction_effects, for where a model looks explain.attention")

    def factors(self):
        """The ``terms`` of pairs and triples of the latest forward pass as sums of products, one factor a field.

        {"pairs": (a, b), "triples": (u, v, w)}: arrays (B, P, k) and (B, T, k), in the order of ``terms``. The term of
        a pair is sum_f a_f b_f, a being made of the row's value of its first field alone, b of its second field's.

        Raises: TypeError where a term depends on more of the row than its own fields, or is no such sum.
        """
        raise TypeError(f"the terms of {type(self).__name__} are not known to be products of one factor a field, which "
                        "depends on this field's value alone (attention makes a pair's term depend on the whole row), "
                        f"so that they cannot be purified; those of {models_with('factors')} can. What can be had of "
                        "any model: explain.interaction_effects, which has no part of what a field says alone")

    def attention_weights(self):
        """Where the model looked in the latest forward pass: {name: weights}.

        "pairs" is a weight for each pair of fields, (B, P); "layer 1", "layer 2", ... a weight for each asking and
        answering field in each head, (B, H, M, M). The weights sum to 1 over pairs, or over answering fields.

        Raises: TypeError for a model without attention.
        """
        raise TypeError(f"{type(self).__name__} has no attention; {models_with('attention_weights')} do. For what each "
                        "pair adds to the prediction of an FM, use explain.contributions")

    # ---- fitting ---------------------------------------------------------------------------------------

    def fit(self, X=None, y=None, *, validation=None, sample_weight=None,
            user_ids=None, item_ids=None, ratings=None, user_features=None, item_features=None, after_epoch=None,
            checkpoint=None, resume=False):
        """Train on a table of named fields, or on ratings of items by users. Starts afresh each time.

        Parameters
        ----------
        X : DataFrame or dict of columns, one column a field; or a 2-D array, whose fields are called x0, x1, ...
        y : one target a row: numbers; or, except in pieces, two labels (``learn_classes``), which ``predict`` gives.
            Or a table in pieces, that need not fit into memory: X an iterable of DataFrames, or a function that
            returns a fresh one for each pass, such as ``lambda: pandas.read_csv(path, chunksize=100_000)``; y the
            name of the target's column in them, sample_weight too. Or each piece is a tuple (X, y) or (X, y,
            sample_weight), and y is left out. Kinds of fields that are not given are inferred from the first piece.
            There is one pass to learn the fields and one for each epoch; pieces are read on another thread.
        validation : data for ``history_`` and early stopping: a share such as 0.1 (drawn at random and left
            out of training, vocabularies included), or a pair (X, y). With pieces: a pair, in memory.
        sample_weight : one weight a row, at least 0; scaled to mean 1.
        user_ids, item_ids, ratings : instead of X and y, one of each for each rating (see ``RatingSource``).
        user_features, item_features : with them, DataFrames indexed by id (or with the id as a column).
        after_epoch : function of (model, line), called after each epoch to watch the training, such as an
            ``explain.AttentionOverEpochs``. The model can predict and be explained then; line is a dict of the epoch's
            line of ``history_``. It is no setting of the model: a function is neither saved nor cloned.
        checkpoint : a file to replace after each epoch by all that training needs to go on, in one step: killed at any
            moment, the same ``fit`` with ``resume=True`` makes the epoch that was cut short again from its start, and
            ends with the weights, bit for bit, and the history of one that was not killed. It takes the room of the
            weights four times (with Adam and validation), stays when training ends, and is no model: ``save`` that.
        resume : go on from the checkpoint, if there is one; else a file that is there already is refused. Class,
            settings and data must be the same (of pieces: fields, targets, weights), except for ``epochs``, ``name``,
            ``verbose`` and ``n_threads``: with more epochs a training that has ended goes on. ``after_epoch`` hears of
            the epochs made from here on.

        Returns: self.
        Raises: TrainingDiverged where a loss or a parameter is not finite any more, after the last step as well;
        ValueError for a checkpoint of another training, ModelFileError for a damaged one. After any error the model is
        not fitted; Ctrl-C is none: it ends the training, and the best weights so far are kept.
        """
        with self.unfitted_on_error():
            self.forget()
            check_settings(self)
            check_checkpoint(checkpoint, resume, self.seed)
            source = as_source(self.task, X, y, validation, sample_weight,
                               user_ids, item_ids, ratings, user_features, item_features)
            seeds = self.start(source)
            data = source.training_data(self)
            keeper = None if checkpoint is None else Checkpoint(checkpoint, resume, self, source, data)
            self.history_ = training.fit(self, data, seeds, after_epoch=after_epoch, checkpoint=keeper)
        return self

    def start(self, source):
        """Learn the fields, choose the task, build the layers; the bias predicts the mean of the targets.

        Returns: the seeds of what comes next, see ``seeds``.
        """
        seeds = self.seeds()
        source.learn(self, seeds["split"])                        # calls fit_encoder
        task = Task.choose(self.task, source.distinct, ratings=source.ratings, classes=source.classes)
        self.set_task(task.centred(source.mean, source.std, self.dtype))
        self.rating_data_ = source.rating_data
        n, M = self.encoder_.n_ids, len(self.encoder_.field_names)
        self.check_fields(M)
        self.build(n, M, np.random.default_rng(seeds["init"]))
        check_layers(self, self.get_params(), n)
        self.row_counts_ = np.zeros(n, np.int64)                  # training counts what it has seen
        self.initialise(source.mean)
        self.new_optimizer()
        self.random_ = training.first_random(seeds)
        return seeds

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
        self.optimizer_ = self.make_optimizer()
        training.seed_dropout(self, self.seeds()["dropout"], 0)

    def make_optimizer(self):
        """The optimizer that the settings ask for."""
        return OPTIMIZERS[self.optimizer](self.learning_rate, lr_multipliers=self.lr_multipliers, lazy=self.lazy)

    def initialise(self, mean):
        """Start the bias where the model predicts the mean of the training targets for every row."""
        with np.errstate(over="ignore"):                          # ``as_dtype`` refuses targets that are too large
            self.bias()[:] = self.task_.first_bias(mean)

    def fit_encoder(self, *tables, fields):
        """Learn the fields' vocabularies from the training table (or tables, or pieces: see ``TableEncoder.fit``)."""
        self.encoder_ = TableEncoder(fields).fit(*tables)

    def seeds(self):
        """Independent random streams, so that using more of one does not move the others."""
        names = ("init", "order", "dropout", "split")
        return dict(zip(names, np.random.SeedSequence(self.seed).spawn(len(names)), strict=True))

    def set_task(self, task):
        """Set what follows from the task: the loss and, for a binary one, the classes."""
        self.task_ = task if isinstance(task, Task) else Task(task)
        self.loss_ = self.task_.loss
        if self.task_ == "binary":
            self.classes_ = self.task_.classes

    def as_dtype(self, y, c):
        """Targets, less their centre, and weights or None in the model's dtype."""
        cast = []
        for array in (y - self.task_.centre, c):
            if array is not None:
                with np.errstate(over="ignore"):
                    array = array.astype(self.dtype)
                if not all_finite(array):
                    raise ValueError(f"y or the weights are too large for {self.dtype}; change their unit")
            cast.append(array)
        return tuple(cast)
