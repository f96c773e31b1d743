"""What is drawn from a generator that is an argument is drawn by the program, as the function itself draws it."""

import numpy as np
import pytest

import autodiff as ad
import nn

X = np.linspace(1.0, 2.0, 5)


def several(x, rng):
    a, mask = rng.normal(size=5), rng.random(5) < 0.5
    b, places, order = rng.normal(x, scale=np.abs(x)), rng.integers(0, 5, size=3), rng.permutation(x)
    c = rng.multivariate_normal(x[:2], np.eye(2), method="cholesky").sum()
    return (a * x + b)[places] * mask[:3] + order[:3] + rng.uniform(size=()) + c + rng.integers(7)


def slope(x, rng):
    def loss(x):
        y = nn.functional.dropout(x * x, 0.5, rng=rng) * rng.standard_normal(5)
        return (y * nn.functional.dropout(np.ones(5), 0.5, rng=rng)).sum()

    return ad.grad(loss)(x)


@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize("function", [several, slope])
def test_every_call_draws_what_the_function_draws_and_leaves_the_generator_as_it_does(function, backend):
    if backend == "native":
        pytest.importorskip("llvmlite")
    here, there, compiled = np.random.default_rng(3), np.random.default_rng(3), ad.compile(function, backend=backend)
    for k in range(3):
        expected = function(X + k, here)
        np.testing.assert_allclose(compiled(X + k, there), expected, rtol=0 if backend == "numpy" else 1e-13)
        assert here.bit_generator.state == there.bit_generator.state
    assert len(compiled.programs) == 1


def test_a_generator_that_goes_in_comes_out():
    compiled, rng = ad.compile(lambda x, rng: (rng, x * rng.random(5))), np.random.default_rng(0)
    assert [compiled(X, rng)[0] is rng for _ in range(2)] == [True, True]


def test_a_call_that_fails_leaves_the_generator_as_it_was():
    compiled, rng = ad.compile(lambda x, rng: rng.normal(x, scale=x)), np.random.default_rng(0)
    compiled(X, rng)
    before = rng.bit_generator.state
    with pytest.raises(ValueError, match="scale < 0"):
        compiled(-X, rng)
    assert rng.bit_generator.state == before


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x, rng: x * rng.normal(), r"rng.normal draws a Python number.* rng.normal\(\.\.\., size=\(\)\)"),
        (lambda x, rng: rng.shuffle(x), "rng.shuffle.*permutation"),
        (lambda x, rng: rng.spawn(2), "rng.spawn.*outside"),
        (lambda x, rng: x * rng.bit_generator.random_raw(), "random numbers are drawn"),
        (lambda x, rng: rng.normal(size=x.astype(int)), "a traced size"),
        (lambda x, rng: (rng.normal(size=3), x)[1], "that nothing depends on"),
        (lambda x, rng: rng.random(out=x), "rng.random: out="),
    ],
)
def test_a_draw_that_no_program_can_repeat_is_refused_and_not_made(function, said):
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    with pytest.raises(TypeError, match=said):
        ad.compile(function)(X, rng)
    assert rng.bit_generator.state == before


def test_a_generator_is_shared_by_the_examples_of_a_vmap_and_a_mapped_one_is_refused():
    def f(x, rng):
        return ad.vmap(lambda x: nn.functional.dropout(x, 0.5, rng=rng), randomness="different")(x)

    compiled, here, there = ad.compile(f), np.random.default_rng(0), np.random.default_rng(0)
    for _ in range(2):
        np.testing.assert_array_equal(compiled(np.ones((3, 2)), here), f(np.ones((3, 2)), there))
    with pytest.raises(TypeError, match=r"which a traced function .* does not have yet"):
        ad.compile(lambda x, rng: ad.vmap(lambda x, r: x * r.normal(size=2))(x, rng))(np.ones((3, 2)), here)


def test_a_generator_from_which_a_layer_and_the_function_itself_draw_is_refused():
    rng = np.random.default_rng(0)
    layer = nn.Dropout(0.5, rng=rng)
    with pytest.raises(TypeError, match="from a generator that the program draws from too"):
        ad.compile(lambda x: layer(x) + rng.normal(size=5))(X)
