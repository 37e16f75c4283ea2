"""What a fitted model says of rows of a table: logits, probabilities, labels, a score."""

import numpy as np

from .. import training
from ..checks import all_finite, check_rows
from ..layers import parameters, sigmoid
from .conventions import for_classes


def check_logits(model, slots, s, first_row=0):
    """Raise ValueError where a logit is not finite: in which row, counted from ``first_row``, and by which column.

    Parameters
    ----------
    model : a fitted model.   slots : Slots of B rows.   s : (B,) their logits.
    """
    if np.isfinite(s).all():
        return
    for name, array in parameters(model).items():
        if not all_finite(array):
            raise ValueError(f"nothing can be predicted, as the parameter {name} of this {type(model).__name__} is not "
                             "finite: its training diverged. Fit it again, with a lower learning_rate")
    row = int(np.argmin(np.isfinite(s)))
    where = ""
    if slots.x is not None:
        slot = int(np.argmax(np.abs(slots.x[row])))
        field = model.encoder_.field_names[int(np.searchsorted(slots.starts, slot, side="right")) - 1]
        where = f"column {field!r} holds the largest number of row {first_row + row}, x = {slots.x[row, slot]:g} when "
        where += "scaled; correct it, or give the field another transform or bins: "
    raise ValueError(f"{where}the prediction of row {first_row + row} is {s[row]}, which {model.dtype} cannot hold")


class Predictions:
    """A mixin of ``Model``."""

    def decision_function(self, X):
        """The logit of each row (binary task), or the predicted value (regression): (N,).

        They have the model's dtype, or float64 where targets are so far from 0 that they needed a centre
        (``Task.centred``).
        """
        self.check_fitted()
        return self.predict_slots(self.encoder_.encode(self.as_fields(X)))

    def predict_slots(self, slots):
        """The logit, or predicted value, of rows that ``encoder_`` has encoded: (N,); a ValueError unless finite."""
        s = training.predict_logits(self, slots)
        check_logits(self, slots, s)
        return self.task_.plus_centre(s)

    @for_classes
    def predict_proba(self, X):
        """Probabilities of no click and of a click, (N, 2), in the order of ``classes_``, as scikit-learn has it."""
        p_click = sigmoid(self.decision_function(X))
        return np.column_stack([1 - p_click, p_click])

    def predict(self, X=None, item=None, *, user_id=None, item_id=None):
        """For a table X: the label of each row, one of ``classes_`` (binary task), or the predicted value, (N,).

        For a user and an item, as ``predict(user_id=, item_id=)`` or ``predict(user, item)``: one float, the
        predicted rating (see ``fit``).
        """
        if item is not None or item_id is not None or user_id is not None:
            return self.predict_rating(X if user_id is None else user_id, item if item_id is None else item_id)
        if X is None:
            raise TypeError("predict needs a table X, or user_id= and item_id=")
        s = self.decision_function(X)
        return self.task_.predict(s)

    def score(self, X, y, sample_weight=None):
        """Accuracy (binary task) or R^2 (regression), scikit-learn's defaults."""
        self.check_fitted()
        X, y, c = check_rows(self.as_fields(X), y, sample_weight, self.task_.targets)
        c = np.ones(len(y)) if c is None else c
        prediction = self.decision_function(X)
        if self.task_ == "binary":
            return float(np.average((prediction >= 0) == y, weights=c))
        with np.errstate(over="ignore"):
            residual = np.sum(c * (y - prediction) ** 2)
            spread = np.sum(c * (y - np.average(y, weights=c)) ** 2)
        if not np.isfinite(residual + spread):
            raise ValueError(f"y, from {y.min():g} to {y.max():g}, is too large for its squares to be added up; change "
                             "its unit")
        if spread == 0:             # R^2 is not defined then; scikit-learn's answer
            return float(residual == 0)
        return float(1 - residual / spread)
