"""scikit-learn's conventions, without depending on it: parameters, clones, tags, names of what was fitted."""

import contextlib
import dataclasses
import functools
import re
import sys

import numpy as np

from ..checks import as_table


class NotFittedError(ValueError, AttributeError):
    """A method that needs a fitted model was called before ``fit``.

    Where scikit-learn is in use, what is raised is its NotFittedError too.
    """


def not_fitted(message):
    """The error to raise: one of scikit-learn's too, if anybody has imported it and so could catch it."""
    theirs = getattr(sys.modules.get("sklearn.exceptions"), "NotFittedError", None)
    return (NotFittedError if theirs is None else _not_fitted_of_both(theirs))(message)


@functools.cache
def _not_fitted_of_both(theirs):
    # made here and not found by name, it says itself how to be pickled: joblib's workers send their errors so
    return type("NotFittedError", (NotFittedError, theirs),
                {"__doc__": NotFittedError.__doc__, "__reduce__": lambda error: (not_fitted, error.args)})


class NoProbabilitiesError(TypeError, AttributeError):
    """A regression was asked for what only a binary task has; ``hasattr`` says that it is not there."""


class for_classes:                                                # noqa: N801
    """Decorates a method that a model has only as long as its task is not regression."""

    def __init__(self, method):
        functools.update_wrapper(self, method)

    def __get__(self, model, cls):
        if model is not None and getattr(model, "task_", model.task) == "regression":
            raise NoProbabilitiesError("this model predicts numbers (task 'regression'): use predict")
        return self.__wrapped__ if model is None else self.__wrapped__.__get__(model)


class Conventions:
    """What ``cross_val_score``, ``GridSearchCV`` and ``Pipeline`` ask of a dataclass of settings."""

    _weight_requests = {}       # method: what scikit-learn's metadata routing shall pass to it as sample_weight

    def check_fitted(self):
        """Raise NotFittedError before ``fit``."""
        if not self.__sklearn_is_fitted__():
            raise not_fitted(f"this {type(self).__name__} is not fitted yet: call fit first")

    def as_fields(self, X):
        """X as a table for this fitted model: the columns of a 2-D array are x0, x1, ... as they were in ``fit``.

        Raises: ValueError for an array of another number of columns; TypeError where the model knows names instead.
        """
        self.check_fitted()
        table = as_table(X)
        if table is X or isinstance(X, dict):
            return table
        known = self.encoder_.field_names
        if not all(re.fullmatch(r"x\d+", name) for name in known):
            raise TypeError(f"X is an array, whose columns have no names, and this model was fitted on the fields "
                            f"{', '.join(known)}: pass pandas.DataFrame(X, columns=[...])")
        if self.fields is None and len(known) != table.shape[1]:
            raise ValueError(f"X has {table.shape[1]} features, but {type(self).__name__} is expecting {len(known)} "
                             "features as input")
        return table

    def forget(self):
        """Remove what was learned, so that a fit that fails does not leave half of it behind."""
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)

    @contextlib.contextmanager
    def unfitted_on_error(self):
        """Within this block an error leaves a model that is not fitted, as half of a training is in it; not Ctrl-C."""
        try:
            yield
        except Exception:
            self.forget()
            raise

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
        copied = type(self)(**self.get_params())
        if self._weight_requests:
            copied._weight_requests = dict(self._weight_requests)
        return copied

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

    def set_fit_request(self, *, sample_weight):
        """Say whether scikit-learn's metadata routing shall pass sample_weight to ``fit``; returns self.

        sample_weight : True, False, None (an error if there are any), or another name to pass them under.
        """
        return self._request("fit", sample_weight)

    def set_partial_fit_request(self, *, sample_weight):
        """The same for ``partial_fit``."""
        return self._request("partial_fit", sample_weight)

    def set_score_request(self, *, sample_weight):
        """The same for ``score``."""
        return self._request("score", sample_weight)

    def _request(self, method, wanted):
        self._weight_requests = {**self._weight_requests, method: wanted}
        return self

    def get_metadata_routing(self):
        """What was requested, in scikit-learn's form; only called by it, so it is there to import from."""
        from sklearn.utils.metadata_routing import MetadataRequest

        requests = MetadataRequest(owner=type(self).__name__)
        for method in ("fit", "partial_fit", "score"):
            getattr(requests, method).add_request(param="sample_weight", alias=self._weight_requests.get(method))
        return requests

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
        changed = [f"{name}={value!r}" for name, value in self.get_params().items()
                   if getattr(value, "ndim", 0) or value != defaults[name]]       # an array is no default
        return f"{type(self).__name__}({', '.join(changed)})"
