"""What tests leave behind in their process, put right."""

import sys

import pytest


@pytest.fixture(autouse=True)
def denormals_are_numbers():
    """Benchmarks tell torch to flush denormals to 0; that holds for the process, and would for the tests after it."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)
