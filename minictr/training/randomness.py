"""The random numbers of training, and how they go on where it stopped: the order of the rows, and what dropout drops.

A model keeps their state in ``random_``: {"order": state of a generator, "dropout": for each replica the states of its
dropouts}. It is made of numbers and text alone, so that files can hold it.
"""

import numpy as np

from ..layers import Dropout, named_layers


def first_random(seeds):
    """The state from which ``fit`` starts, from its seeds; a replica's dropouts are seeded when it is made."""
    return {"order": np.random.default_rng(seeds["order"]).bit_generator.state, "dropout": []}


def generator(state):
    """A generator that goes on from a state.

    >>> rng = np.random.default_rng(0)
    >>> generator(rng.bit_generator.state).random() == rng.random()
    True
    """
    rng = np.random.default_rng(0)
    rng.bit_generator.state = state
    return rng


def seed_dropout(model, seed, number):
    """Give each dropout of a replica random numbers of its own: no race between threads, no order to keep."""
    for i, (_, layer) in enumerate(named_layers(model)):
        if isinstance(layer, Dropout):
            layer.rng = np.random.default_rng(
                np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, number, i)))


def dropouts(model):
    """The dropouts of a model or replica, in order."""
    return [layer for _, layer in named_layers(model) if isinstance(layer, Dropout)]


def dropout_states(model):
    """Where the dropouts of a model or replica have got to."""
    return [layer.rng.bit_generator.state for layer in dropouts(model)]


def resume_dropout(model, states):
    """Let the dropouts of a model or replica go on from their states."""
    for layer, state in zip(dropouts(model), states, strict=True):
        layer.rng = generator(state)


def checked_random(random, model):
    """A state that came from a file; ValueError, TypeError or KeyError if training cannot go on from it."""
    for state in [random["order"], *(state for replica in random["dropout"] for state in replica)]:
        generator(state)
    if random.keys() != {"order", "dropout"} or {len(states) for states in random["dropout"]} - {len(dropouts(model))}:
        raise ValueError("the random numbers are not those of this model")
    return random
