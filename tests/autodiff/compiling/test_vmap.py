"""A function of one example, run for many and compiled, against itself run as it is, on other values and both back ends."""

import numpy as np
import pytest

import autodiff as ad
from tests.autodiff.compiling.test_compile import same

BACKENDS = pytest.mark.parametrize("backend", ["numpy", "native"])


def drawn(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes]


def agree(f, *shapes, backend="numpy", rtol=1e-12):
    """Compiled, it gives what it gives as it is, at values that are not those of the first call."""
    compiled = ad.compile(f, backend=backend)
    for seed in range(3):
        same(compiled(*drawn(seed, *shapes)), f(*drawn(seed, *shapes)), rtol)
    return compiled


@BACKENDS
@pytest.mark.parametrize("out_axes", [0, 1, -1])
@pytest.mark.parametrize("f", [np.sin, lambda x: x[::-1] * x.sum(), lambda x: x, lambda x: np.ones(2)])
def test_values_of_all_examples_are_compiled(f, out_axes, backend):
    agree(ad.vmap(f, out_axes=out_axes), (3, 2), backend=backend)


@BACKENDS
def test_a_result_of_the_examples_is_no_other_name_for_an_argument(backend):
    def f(x):
        y = ad.vmap(lambda x: x)(x)
        y += 1
        return x, y

    agree(f, (3, 2), backend=backend)
    x = np.arange(6.0).reshape(3, 2)
    same(ad.vmap(f)(x.copy()), (x, x + 1))
