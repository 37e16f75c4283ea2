"""Fields: what each column of a table is, and how a table becomes slots (ids and weights x).

A field is one column, of one of three kinds. Each value of a `Categorical` looks up a vector of its
own. A `Numerical` has one vector, multiplied by the number: e = v x; or its numbers are cut into
bins, which are categories. A cell of a `MultiValued` holds several values, whose vectors are
averaged. `TableEncoder` learns the fields of a training table and encodes this and other tables.

Ids are global: each field has its own stretch of one embedding table. Within the stretch,

    Categorical, MultiValued, bins    0 unknown or rare, 1 missing, 2.. the values, sorted
    Numerical                         0 the number's vector, 1 missing (if fit saw a missing number)

What a user writes stands in ``specs``; ``reading`` and ``columns`` read a table and its columns; and each kind has a
file of its own (``categorical``, ``multi_valued``, ``numerical``, ``binned``) with a learner and an encoder. A learner
is fed the blocks of a training column in turn, and keeps what is needed of them, not their rows:

    add(block, rows)      one block, and the numbers of its rows for messages
    width                 how many slots the longest cell so far takes
    encoder(n_rows)       what has been learned, of so many rows

An encoder is one field, fitted to its training column. Every encoder has

    spec                  the field that was asked for
    n_ids, n_values       its rows of the embedding table, and how many of them are values
    labels()              the text of each id
    unknown, missing      the shares of the training column that became unknown, and were missing
    encode(block, rows)   -> cells, ids, x
    state()               -> JSON-able dict, dict of arrays; from_state(...) is the way back
    learner_class         the learner that makes it

``encode`` describes a block by its *cells*: row r of the block holds cell number cells[r], and cell
c has the ids ids[c] (counted from 0 within the field) and weights x[c] (x None: all 1). Equal cells
are worked out once, so a long column costs little more than its distinct values.

``table`` puts the fields together, and ``windows`` takes, joins and cuts rows that are encoded.
"""

from .reading import in_piece
from .specs import FIELD_CLASSES, TRANSFORMS, Categorical, Field, MultiValued, Numerical, infer_field
from .table import TableEncoder

__all__ = ["FIELD_CLASSES", "TRANSFORMS", "Categorical", "Field", "MultiValued", "Numerical", "TableEncoder",
           "in_piece", "infer_field"]
