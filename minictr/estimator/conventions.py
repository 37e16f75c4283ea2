"""scikit-learn's conventions, without depending on it: parameters, clones, tags, names of what was fitted."""

import contextlib
import dataclasses

import numpy as np


class NotFittedError(ValueError, AttributeError):
    """A method that needs a fitted model was called before ``fit``."""


class Conventions:
    """What ``cross_val_score``, ``GridSearchCV`` and ``Pipeline`` ask of a dataclass of settings."""

    def check_fitted(self):
        """Raise NotFittedError before ``fit``."""
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet: call fit first")

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
        changed = [f"{name}={value!r}" for name, value in self.get_params().items()
                   if getattr(value, "ndim", 0) or value != defaults[name]]       # an array is no default
        return f"{type(self).__name__}({', '.join(changed)})"
