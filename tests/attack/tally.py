"""How much is attacked, and what was tried.

An attack draws odd input from a seeded generator, as many times as ``rounds`` says, and counts in a ``Tally`` what came
of it. What is promised: the right result, or one clear error; bounded time and memory; nothing lost.

``MINICTR_ATTACK=30`` makes each attack thirty times as long: half an hour for all of them.
"""

import collections
import os

SCALE = float(os.environ.get("MINICTR_ATTACK", "1"))


def rounds(n):
    """How often to try what takes n tries on an ordinary day."""
    return max(1, round(n * SCALE))


class Tally:
    """What was tried, by outcome, and the first cases that broke a promise."""

    def __init__(self, area):
        self.area = area
        self.outcomes = collections.Counter()
        self.broken = []

    def add(self, outcome):
        """Count one try that kept the promise: "right", the class of its clear error, ..."""
        self.outcomes[outcome] += 1

    def fail(self, case, why):
        """Count one try that broke it. case: what it takes to try it again, such as its seed."""
        self.outcomes["broken"] += 1
        self.broken.append(f"{case}: {why}")

    def check(self):
        """Print the counts, and fail if any promise was broken, or if everything ended in the same way."""
        print(f"\n{self.area}: {sum(self.outcomes.values()):,} tried; "
              + ", ".join(f"{outcome} {count:,}" for outcome, count in self.outcomes.most_common()))
        assert not self.broken, f"{len(self.broken)} broken, first of them:\n" + "\n".join(self.broken[:10])
        assert len(self.outcomes) > 1, "every try ended alike: does the attack attack?"
