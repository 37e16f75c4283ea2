"""Fields: what each column of a table is, and how a table becomes slots (ids and weights x)."""

from .table import (
    FIELD_CLASSES,
    TRANSFORMS,
    Categorical,
    Field,
    MultiValued,
    Numerical,
    TableEncoder,
    in_piece,
    infer_field,
)

__all__ = ["FIELD_CLASSES", "TRANSFORMS", "Categorical", "Field", "MultiValued", "Numerical", "TableEncoder",
           "in_piece", "infer_field"]
