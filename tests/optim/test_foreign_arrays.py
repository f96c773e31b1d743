"""Steps of the first-order optimisers on an array type that is not NumPy's, also with coefficients that are arrays."""

from __future__ import annotations

import numpy as np
import pytest

import optim
from autodiff.tensor import variable, wrap
from tests.stand_in import StandIn, watching

CASES = {
    "SGD": [{}, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, {"momentum": 0.9, "averaged": True}],
    "Adam": [{"maximize": True}, {"amsgrad": True, "weight_decay": 0.1}, {"eps_inside_sqrt": True}],
    "AdamW": [{}],
    "Adamax": [{}, {"eps": 0.0}],
    "NAdam": [{}, {"decoupled_weight_decay": True, "weight_decay": 0.1}],
    "RAdam": [{}, {"betas": (0.9, 0.6)}],
    "Adagrad": [{}],
    "RMSprop": [{}, {"centered": True, "momentum": 0.9}],
    "Adadelta": [{}],
    "LARS": [{}, {"weight_decay": 0.1, "momentum": 0.9}],
    "LAMB": [{"weight_decay": 0.1}],
    "Rprop": [{}],
    "Lion": [{"weight_decay": 0.1}],
}


def as_arrays(coefficients, kind):
    values = [kind(np.asarray(c)) if type(c) is float else c for c in coefficients]
    return type(coefficients)(*values) if hasattr(coefficients, "_fields") else tuple(values)


def after_steps(name, options, kind, arrays):
    """Parameters and states after three steps."""
    rng = np.random.default_rng(0)
    ps = [variable(kind(rng.normal(size=s))) for s in [(3, 2), (4,), ()]]
    optimizer = getattr(optim, name)(ps, **options)
    if arrays:
        advance = optimizer.advance
        optimizer.advance = lambda *args: as_arrays(advance(*args), kind)
    for i in range(3):
        for p in ps:
            p.grad = wrap(kind(np.asarray(rng.normal(size=p.shape) * (i != 0 or p.ndim != 1))))
        optimizer.step()
    states = [optimizer.state[p][name] for p in ps for name in optimizer.buffers(optimizer.param_groups[0])]
    return [p._ndarray for p in ps] + states


@pytest.mark.parametrize("arrays", [False, True], ids=["numbers", "arrays"])
@pytest.mark.parametrize("name", CASES)
def test_a_step_gives_the_same_on_another_array_type(name, arrays):
    for options in CASES[name]:
        expected = after_steps(name, options, np.array, False)
        with watching(numbers_decide=True) as log:
            found = after_steps(name, options, StandIn, arrays)
        assert log.conversions == 0
        for a, b in zip(expected, found, strict=True):
            assert type(b) is StandIn
            np.testing.assert_allclose(b.value, a, rtol=1e-12)


def test_a_parameter_that_has_had_no_gradient_stays_where_it_is():
    p = variable(np.array([1.0, 2.0]))
    optimizer = optim.Adamax([p], eps=0.0)
    p.grad = np.array([0.0, 1.0])
    with np.errstate(all="raise"):
        optimizer.step()
    assert p.data[0] == 1.0 and p.data[1] < 2.0


def test_a_ratio_of_norms_that_are_not_numbers_is_none():
    p = variable(np.array([np.nan, 2.0]))
    optimizer = optim.LARS([p])
    p.grad = np.array([1.0, 1.0])
    optimizer.step()
    assert np.isnan(p.data).all()
