"""Radial basis functions against their formula and finite differences."""

import numpy as np
import pytest

import autodiff as ad
import nn


def test_bumps_are_their_formula_and_have_exact_derivatives():
    rng = np.random.default_rng(0)
    c, w, x = rng.normal(size=(4, 2)), rng.uniform(0.5, 2, 4), rng.normal(size=(3, 5, 2))
    model = nn.RBF(c, w, dtype="float64")
    expected = [[[np.exp(-(np.linalg.norm(p - q) ** 2) / (2 * s**2)) for q, s in zip(c, w)] for p in row] for row in x]
    np.testing.assert_allclose(model(x).numpy(), expected, rtol=1e-12)
    assert list(model.state_dict()) == ["width", "centres"] and [n for n, _ in model.named_parameters()] == ["width"]
    assert ad.gradgradcheck(lambda x, w: nn.functional_call(model, {"width": w}, x), (x[0], w))


def test_rbf_refuses_what_does_not_fit():
    for centres, width, message in (([1.0], 1.0, r"centres of shape \(1,\)"), ([[1.0]], 0.0, "width is one positive"),
                                    ([[1.0]], [1.0, 2.0], "width is one positive number or 1")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            nn.RBF(centres, width)
    with pytest.raises(ValueError, match=r"RBF\(1 centres, 2 features\): got input of shape \(3,\)"):
        nn.RBF([[1.0, 2.0]])(np.zeros(3, "float32"))
