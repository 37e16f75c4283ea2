"""A trace lays one training step open: every array, the equation it stands for, and the line that computed it.

The step is the model's own, run on a copy of it while Python reports each line that it executes
(``sys.settrace``, what debuggers are built on). So the file and the line of an array are those of the
statement that has just assigned it; nothing is kept in a list beside the code that could go out of date.
"""

from .epochs import StepOverEpochs
from .nodes import NotFollowed
from .results import Trace
from .run import trace
from .steps import Step

__all__ = ["NotFollowed", "Step", "StepOverEpochs", "Trace", "trace"]
