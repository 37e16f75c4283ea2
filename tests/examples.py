"""How many examples of Hypothesis a test takes that needs more, or fewer, than the others."""

from hypothesis import settings

WHOLE = 100                                                       # of a test that says nothing, with ``pytest --all``


def examples(n, suppress_health_check=()):
    """Settings for n examples with ``pytest --all``; on other days the share of them that the profile takes."""
    of_the_profile = settings()
    return settings(max_examples=max(5, n * of_the_profile.max_examples // WHOLE),
                    suppress_health_check=[*of_the_profile.suppress_health_check, *suppress_health_check])
