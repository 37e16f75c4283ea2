"""Settings of Hypothesis for all tests."""

import os

from hypothesis import settings

# No deadline: a shared machine is slow at times. In CI the examples are the same in every run, so that a red run is
# about the change and not about luck; elsewhere they are new each time.
settings.register_profile("minictr", deadline=None, print_blob=True, derandomize="CI" in os.environ)
settings.load_profile("minictr")
