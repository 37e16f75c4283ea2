"""One training of one system, on rows that hold no test row."""

import dataclasses
from collections.abc import Callable

import numpy as np

from minictr import FM, DeepCrossing, TrainingDiverged, WideDeep
from minictr.estimator import Model, StartsFromFM
from minictr.layers import parameters, states
from minictr.metrics import auc


@dataclasses.dataclass(kw_only=True)
class Outcome:
    """A finished training.

    Parameters
    ----------
    predict : function of X that gives the logits or predicted values, with the weights of the best epoch.
    epochs, best_epoch : how many there were, and which was best on the validation rows.
    parameters : how many numbers were trained.
    """

    predict: Callable
    epochs: int
    best_epoch: int
    parameters: int


class Diverged(Exception):
    """The training diverged with these settings; this is its outcome."""


def minictr(system, settings, train, validation):
    """Fit the model ``system.family`` with these settings; early stopping on the validation rows.

    Raises: Diverged; KeyboardInterrupt where Ctrl-C ended it, as such a training is not finished.
    """
    return fitted(system.family(**settings), train, validation)


def minictr_by_auc(system, settings, train, validation):
    """The same, epoch by epoch: it stops, and the best epoch is, by the validation AUC in place of the loss."""
    model = system.family(**{**settings, "epochs": 1})
    arrays = {}

    def one_epoch(epoch):
        fit_on(model.fit if epoch == 1 else model.partial_fit, model, *train)
        arrays.update({**parameters(model), **states(model)})

    def save():
        return {name: array.copy() for name, array in arrays.items()}

    def restore(best):
        for name, array in best.items():
            arrays[name][...] = array
    epochs, best_epoch = stopped_by_auc(one_epoch, model.decision_function, save, restore, settings, validation)
    return Outcome(predict=model.decision_function, epochs=epochs, best_epoch=best_epoch,
                   parameters=n_parameters(model))


def stopped_by_auc(one_epoch, predict, save, restore, settings, validation):
    """Train until ``patience`` epochs brought no higher validation AUC; go back to the best one.

    Parameters
    ----------
    one_epoch : function of the epoch's number, from 1.   predict : function of X that gives logits.
    save, restore : the state of what is trained, and the way back to it.
    settings : with "epochs" and "patience".   validation : (X, y).

    Returns: how many epochs there were, and which was the best.   Raises: Diverged.
    """
    X, y = validation
    best_auc, best_epoch, best = -np.inf, 0, None
    for epoch in range(1, settings["epochs"] + 1):
        one_epoch(epoch)
        s = predict(X)
        if not np.isfinite(s).all():
            raise Diverged(f"epoch {epoch}: a prediction is not finite")
        reached = auc(y, s)
        if reached > best_auc:
            best_auc, best_epoch, best = reached, epoch, save()
        elif epoch - best_epoch >= settings["patience"]:
            break
    restore(best)
    return epoch, best_epoch


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class WideDeepFromFM(StartsFromFM, WideDeep):
    """Wide & Deep that takes over an FM's vectors and weights."""


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class DeepCrossingFromFM(StartsFromFM, DeepCrossing):
    """Deep Crossing that takes over an FM's vectors; it has no weights of single values."""

    def initialise(self, mean):
        """Copy V alone."""
        Model.initialise(self, mean)
        if self.init_from is not None:
            self.embedding.params["V"][...] = self.init_from.embedding.params["V"]


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class FMWithBiasFromZero(FM):
    """FM whose bias starts at 0, as in most other code, not where the model predicts the mean of the targets."""

    def initialise(self, mean):
        """Leave the bias at 0."""


# What an FM shares with a system that starts from it.
OF_THE_FM_TOO = ("task", "fields", "embedding_dim", "batch_size", "optimizer", "learning_rate", "epochs", "patience",
                 "seed", "n_threads")


def from_fm(system, settings, train, validation):
    """The same for a system that starts from an FM: settings whose names begin with "fm_" are the FM's.

    ``attention_lr`` is the factor on the learning rate of the attention, where there is one.
    """
    own = {name: value for name, value in settings.items() if not name.startswith("fm_")}
    of_fm = {name: value for name, value in own.items() if name in OF_THE_FM_TOO}
    of_fm |= {name.removeprefix("fm_"): value for name, value in settings.items() if name.startswith("fm_")}
    fm = FM(**of_fm)
    fitted(fm, train, validation)
    if "attention_lr" in own:
        own["lr_multipliers"] = {"attention": own.pop("attention_lr")}
    return fitted(system.family.from_fm(fm, **own), train, validation)


def official_or_paper(system, settings, train, validation):
    """The same for AutoInt, in the form that the setting ``form`` names: the "paper"'s, or its authors' "code"'s."""
    settings = dict(settings)
    make = {"paper": system.family, "code": system.family.official_code}[settings.pop("form")]
    return fitted(make(**settings), train, validation)


def fit_on(fit, model, X, y, **options):
    """Call a model's ``fit`` or ``partial_fit``. Raises: Diverged; KeyboardInterrupt where Ctrl-C ended it."""
    try:
        fit(X, y, **options)
    except TrainingDiverged as error:
        raise Diverged(str(error)) from None
    if model.history_.attrs["interrupted"]:
        raise KeyboardInterrupt                               # it ends quietly with what it has


def fitted(model, train, validation):
    """Fit a minictr model; its ``Outcome``."""
    fit_on(model.fit, model, *train, validation=validation)
    return Outcome(predict=model.decision_function, epochs=len(model.history_),
                   best_epoch=int(model.history_.attrs["best_epoch"]), parameters=n_parameters(model))


def n_parameters(model):
    """How many numbers a built minictr model trains."""
    return sum(array.size for array in parameters(model).values())


def built(family, n, M, **settings):
    """A model with its layers for n ids in M fields, to count its parameters without data."""
    model = family(**settings)
    model.build(n, M, np.random.default_rng(0))
    return model
