"""Random numbers inside vmap are those of a loop over the examples, each with its own generator or all with one."""

import warnings

import numpy as np
import pytest

import autodiff as ad
import nn
from autodiff import Tensor
from autodiff.batching.batch import BatchError, PerformanceWarning

X = np.random.default_rng(0).normal(size=(4, 3))


def split(rng, count):
    return [np.random.default_rng(words) for words in rng.integers(2**32, size=(count, 4))]


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", PerformanceWarning)
        yield


DRAWS = {
    "normal": lambda x, rng: x + rng.normal(size=3),
    "one number": lambda x, rng: x * rng.random(),
    "by a batch": lambda x, rng: x + rng.poisson(np.exp(x.detach())),
    "integers": lambda x, rng: x[rng.integers(0, 3, 2)],
    "permutation": lambda x, rng: x[rng.permutation(3)],
    "choice": lambda x, rng: rng.choice(5, 2, replace=False) * x[:2],
    "several": lambda x, rng: (x * rng.standard_normal(3), rng.uniform(-1, 1) * x)[1] + rng.exponential(2.0, 3),
    "dropout": lambda x, rng: nn.functional.dropout(x, 0.4, rng=rng),
    "dropout of what is shared": lambda x, rng: x + nn.functional.dropout(Tensor(np.ones(3)), 0.4, rng=rng),
    "rvs": lambda x, rng: ad.stats.norm.rvs(x, 2.0, rng=rng),
    "rvs of a gamma": lambda x, rng: ad.stats.gamma.rvs(np.exp(x), rng=rng),
}


@pytest.mark.parametrize("name", DRAWS)
def test_a_generator_that_is_mapped_is_split_into_one_for_each_example(name):
    f = DRAWS[name]
    for g in (f, lambda x, rng: ad.grad(lambda x: (f(x, rng) ** 2).sum())(x)):
        found = ad.vmap(g)(X, np.random.default_rng(3))
        expected = [g(Tensor(x), rng) for x, rng in zip(X, split(np.random.default_rng(3), 4))]
        np.testing.assert_allclose(found, np.stack([np.asarray(getattr(e, "data", e)) for e in expected]), rtol=1e-12)
    assert not np.array_equal(found[0], found[1])


def test_the_same_seed_gives_the_same_numbers_and_a_generator_moves_on():
    f, rng = ad.vmap(DRAWS["normal"]), np.random.default_rng(1)
    first, second = f(X, rng), f(X, rng)
    np.testing.assert_array_equal(first, f(X, np.random.default_rng(1)))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("name", ["dropout", "dropout of what is shared", "rvs"])
def test_examples_draw_each_in_turn_or_all_the_same_or_are_refused(name):
    f = DRAWS[name]
    with pytest.raises(BatchError, match="randomness='different'"):
        ad.vmap(f, in_axes=(0, None))(X, np.random.default_rng(0))
    found = ad.vmap(f, in_axes=(0, None), randomness="different")(X, np.random.default_rng(0))
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(found, np.stack([f(Tensor(x), rng).data for x in X]), rtol=1e-12)
    found = ad.vmap(f, in_axes=(0, None), randomness="same")(X, np.random.default_rng(0))
    np.testing.assert_allclose(found, np.stack([f(Tensor(x), np.random.default_rng(0)).data for x in X]), rtol=1e-12)


def test_a_layer_draws_from_the_default_generator_or_its_own():
    for layer in (nn.Dropout(0.5), nn.Dropout(0.5, rng=np.random.default_rng(5))):
        nn.manual_seed(2)
        if layer.rng is not None:
            layer.rng = np.random.default_rng(5)
        found = ad.vmap(layer, randomness="different")(X)
        nn.manual_seed(2)
        if layer.rng is not None:
            layer.rng = np.random.default_rng(5)
        np.testing.assert_array_equal(found, np.stack([layer(Tensor(x)).data for x in X]))
    masks = ad.vmap(nn.Dropout(0.5), randomness="same")(np.ones((4, 50)))
    assert (masks == masks[0]).all() and 0 < (masks[0] == 0).sum() < 50
    np.testing.assert_array_equal(ad.vmap(nn.Dropout(0.5).eval())(X), X)


def test_maps_in_maps_draw_as_each_of_them_says():
    rng = lambda: np.random.default_rng(0)
    noise = lambda x, rng: x + ad.stats.norm.rvs(0 * x, rng=rng)

    def of(inner, outer):
        return ad.vmap(lambda r, g: ad.vmap(noise, (0, None), randomness=inner)(r, g), (0, None), randomness=outer)(np.zeros((2, 3)), rng())  # fmt: skip

    different, inner_same, outer_same = of("different", "different"), of("same", "different"), of("different", "same")
    assert len(np.unique(different)) == 6
    assert (inner_same == inner_same[:, :1]).all() and inner_same[0, 0] != inner_same[1, 0]
    assert (outer_same == outer_same[:1]).all() and len(np.unique(outer_same)) == 3
    split_twice = ad.vmap(lambda r, g: ad.vmap(lambda x, g: x + g.normal())(r, g))(np.zeros((2, 3)), rng())
    assert len(np.unique(split_twice)) == 6


@pytest.mark.parametrize("randomness", ["different", "same", None])
def test_a_checkpoint_draws_again_what_it_drew(randomness):
    f = lambda x, rng: (nn.functional.dropout(x**2, 0.5, rng=rng) ** 2).sum()
    kept = lambda x, rng: ad.checkpoint(f, x, rng, rng=rng)
    axes, word = ((0, 0), "error") if randomness is None else ((0, None), randomness)
    slopes = [ad.grad(lambda x, f=f: ad.vmap(f, axes, randomness=word)(x, np.random.default_rng(0)).sum())(X) for f in (f, kept)]  # fmt: skip
    np.testing.assert_allclose(*slopes, rtol=1e-12)


def test_what_is_wrong_is_named():
    with pytest.raises(ValueError, match="'error', 'different', 'same'"):
        ad.vmap(np.sin, randomness="split")
    with pytest.raises(BatchError, match="permutation"):
        ad.vmap(lambda x, rng: rng.shuffle(x))(X, np.random.default_rng(0))
    room = np.zeros(3)
    with pytest.raises(BatchError, match=r"\.standard_normal\(out=\) of a generator for each example"):
        ad.vmap(lambda x, rng: x + rng.standard_normal(out=room))(X, np.random.default_rng(0))
    with pytest.raises(TypeError, match="standard form"):
        ad.vmap(ad.grad(lambda x, rng: rng.normal(x).sum()))(X, np.random.default_rng(0))
    with pytest.raises(ValueError, match="no argument"):
        ad.vmap(lambda rng: rng.normal())(np.random.default_rng(0))
