"""What a run that came to nothing did to its surroundings is taken back before the function runs as it is."""

import copy
import random

import numpy as np
import pytest

import autodiff as ad

COUNTS, RNG, OLD, PYTHONS = np.zeros(2), np.random.default_rng(1), np.random.RandomState(2), random.Random(3)
SEEN = []


def unsupported(x):
    COUNTS[0] += 1
    SEEN.append(len(SEEN))
    drawn = (
        RNG.normal(),
        OLD.rand(),
        PYTHONS.random(),
        random.random(),
        np.random.rand(),
        ad.random.generator().normal(),
    )
    return x[x > 0], drawn


def states():
    return [
        RNG.bit_generator.state, OLD.get_state()[2], PYTHONS.getstate(), random.getstate(), np.random.get_state()[2],
        ad.random.get_rng_state(), COUNTS.tolist(), list(SEEN),
    ]  # fmt: skip


def test_a_call_that_is_run_as_it_is_counts_and_draws_once():
    before = copy.deepcopy((RNG.bit_generator.state, OLD.get_state(), PYTHONS.getstate()))
    general = random.getstate(), np.random.get_state(), ad.random.get_rng_state()
    compiled = ad.compile(unsupported, on_unsupported="eager")
    _, drawn = compiled(np.ones(2))
    found = states()
    RNG.bit_generator.state = before[0]
    OLD.set_state(before[1])
    PYTHONS.setstate(before[2])
    random.setstate(general[0])
    np.random.set_state(general[1])
    ad.random.set_rng_state(general[2])
    COUNTS[:], SEEN[:] = 0, []
    assert unsupported(np.ones(2))[1] == drawn
    assert states() == found


def test_a_refused_call_leaves_arrays_as_they_were():
    counts = np.zeros(2)

    def count(x):
        counts[:] += 1
        return x * 2

    with pytest.raises(TypeError, match="changes 'counts'"):
        ad.compile(count)(np.ones(2))
    assert counts.tolist() == [0, 0]
