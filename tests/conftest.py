"""Settings of Hypothesis for all tests, and what they leave behind."""

import os
import sys

import pytest
from hypothesis import HealthCheck, settings

# No deadline, and no complaint of slow data: a shared machine is slow at times. In CI the examples are the same in
# every run, so that a red run is about the change and not about luck; elsewhere they are new each time.
settings.register_profile("minictr", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True,
                          derandomize="CI" in os.environ)
settings.load_profile("minictr")


@pytest.fixture(autouse=True)
def denormals_are_numbers():
    """Benchmarks tell torch to flush denormals to 0; that holds for the process, and would for the tests after it."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)
