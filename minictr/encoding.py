"""Encoding one column: see ``minictr.fields``, where this now is."""

from .checks import as_column as read_column
from .fields.binned import BinnedEncoder, BinnedLearner
from .fields.categorical import CategoricalEncoder, CategoricalLearner
from .fields.columns import distinct_values, plain, read_numbers, value_kind
from .fields.multi_valued import MultiValuedEncoder, MultiValuedLearner, as_list
from .fields.numerical import Moments, NumericalEncoder, NumericalLearner

__all__ = ["BinnedEncoder", "BinnedLearner", "CategoricalEncoder", "CategoricalLearner", "Moments",
           "MultiValuedEncoder", "MultiValuedLearner", "NumericalEncoder", "NumericalLearner", "as_list",
           "distinct_values", "plain", "read_column", "read_numbers", "value_kind"]
