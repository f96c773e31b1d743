"""What NumPy builds by an index."""

import numpy as np
import pytest

import autodiff as ad
from autodiff import Tensor
from tests.against_numpy import same_values

rng = np.random.default_rng(8)
V, M = rng.normal(size=3), rng.normal(size=(2, 3))
KEYS = [
    ("r_", lambda c: c(V)), ("r_", lambda c: (c(V), 0.0, slice(1, 4), 2)), ("r_", lambda c: (c(V), [1, 2], V)),
    ("r_", lambda c: (c(M), M)), ("r_", lambda c: ("-1", c(M), M)), ("r_", lambda c: ("0,2", c(V), c(V) * 2)),
    ("r_", lambda c: ("0,2,0", c(V), c(V))), ("r_", lambda c: ("1,2,0", c(V), c(V), slice(0, 3))),
    ("r_", lambda c: (slice(-1, 1, 5j), c(V))), ("r_", lambda c: (c(V.astype(np.float32)), 0.5)),
    ("r_", lambda c: (c(V[0]), c(V[1]))), ("c_", lambda c: (c(V), V)), ("c_", lambda c: (c(M), M, c(M[:, 0]))),
    ("c_", lambda c: (c(V), slice(0, 3))),
]  # fmt: skip


@pytest.mark.parametrize("name, key", KEYS, ids=[f"{i} {name}" for i, (name, _) in enumerate(KEYS)])
def test_what_is_built_by_an_index_is_numpys_with_gradients_to_its_parts(name, key):
    ours, theirs = getattr(ad, name), getattr(np, name)
    for recorded in (False, True):
        same_values(ours[key(lambda a, r=recorded: Tensor(a, requires_grad=r))], theirs[key(np.asarray)])
    parts = []
    key(lambda a: (parts.append(np.array(a, float)), np.asarray(a))[1])

    def built(*xs):
        given = iter(xs)
        return ours[key(lambda _: next(given))]

    ad.gradcheck(built, parts)


def test_a_range_has_derivatives_by_the_ends_of_evenly_spaced_numbers():
    ad.gradcheck(lambda a, b: ad.r_[a:b:4j, b], (0.5, 2.0))


@pytest.mark.parametrize(
    "call, kind, match",
    [
        (lambda: ad.r_["r", Tensor(V)], TypeError, "(?s)r_: puts Tensors, .* no matrix"),
        (lambda: ad.c_[()], TypeError, r"c_: .* not \(\)"),
        (lambda: ad.r_[Tensor(V), Tensor(M)], ValueError, r"r_: shapes \(3,\), \(2, 3\) do not fit"),
        (lambda: ad.r_["best", Tensor(V)], ValueError, "r_: .* unknown special directive"),
    ],
)
def test_what_does_not_fit_is_named(call, kind, match):
    with pytest.raises(kind, match=match):
        call()
