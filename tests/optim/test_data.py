"""Batches: every sample once, X and y together, in order or in the generator's order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import autodiff as ad
import optim
from tests.documents import ENTRIES


@given(st.integers(1, 40), st.integers(1, 50), st.booleans(), st.booleans(), st.integers(0, 3))
def test_batches_go_through_all_samples_as_pytorchs_data_loader_does(n, size, shuffle, drop_last, width):
    X, y = np.arange(n * width, dtype=np.float32).reshape(n, width), np.arange(n)
    data = optim.batches(X, y, size, shuffle, np.random.default_rng(0), drop_last)
    got = list(data)
    assert len(data) == len(got)
    sizes = [size] * (n // size) + ([n % size] if n % size and not drop_last else [])
    assert [len(x) for x, _ in got] == [len(t) for _, t in got] == sizes
    order = np.random.default_rng(0).permutation(n) if shuffle else np.arange(n)
    whole = order[: sum(sizes)]
    np.testing.assert_array_equal(np.concatenate([t for _, t in got], dtype=int) if got else [], whole)
    for x, t in got:
        np.testing.assert_array_equal(x, X[t])


def test_the_sizes_are_those_of_pytorchs_data_loader():
    torch = pytest.importorskip("torch")
    X = torch.arange(23)
    for size in (1, 4, 23, 30):
        for drop_last in (False, True):
            theirs = torch.utils.data.DataLoader(X, batch_size=size, drop_last=drop_last)
            ours = optim.batches(X.numpy(), batch_size=size, drop_last=drop_last)
            assert len(theirs) == len(ours)
            for a, b in zip(theirs, ours, strict=True):
                np.testing.assert_array_equal(a.numpy(), b)


def test_each_pass_draws_a_new_order_from_the_generator():
    data = optim.batches(np.arange(50), batch_size=None, shuffle=True, rng=np.random.default_rng(3))
    rng = np.random.default_rng(3)
    for _ in range(3):
        (batch,) = data
        np.testing.assert_array_equal(batch, rng.permutation(50))


def test_tensors_give_tensors_arrays_arrays_and_tuples_tuples():
    X = (np.ones((6, 2)), ad.Tensor(np.arange(6)))
    for shuffle in (False, True):
        for (a, b), (c, (d,)) in optim.batches(X, ([1, 2, 3, 4, 5, 6], (np.zeros(6),)), 4, shuffle=shuffle):
            assert type(a) is type(c) is type(d) is np.ndarray
            assert type(b) is ad.Tensor
            assert not b.requires_grad
            np.testing.assert_array_equal(b.data + 1, c)


def test_a_tensor_that_is_learned_gets_gradients_through_its_batches():
    X = ad.Tensor(np.ones((5, 2)), requires_grad=True)
    for x in optim.batches(X, batch_size=2):
        (3 * x).sum().backward()
    np.testing.assert_array_equal(X.grad.data, np.full((5, 2), 3.0))


def test_a_pandas_like_object_is_made_an_array():
    class Frame:
        def __array__(self, dtype=None, copy=None):
            return np.arange(6.0).reshape(3, 2)

    assert [x.shape for x in optim.batches(Frame(), batch_size=2)] == [(2, 2), (1, 2)]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((np.ones((5, 2)), np.ones(4)), ValueError, "different lengths: X 5 and y 4"),
        (((np.ones(5), np.ones(6)), np.ones(5)), ValueError, "different lengths: X 5, 6 and y 5"),
        ((np.ones((0, 2)), np.ones(0)), ValueError, "no samples"),
        ((3.0, 4.0), TypeError, "not one value"),
        (((), np.ones(2)), ValueError, "empty tuple"),
        (([[1, 2], [3]], None), ValueError, "cannot be made an array"),
        ((np.ones(5), None, 0), ValueError, "batch_size must be at least 1, not 0"),
        ((np.ones(5), None, 2.5), TypeError, "batch_size must be an integer"),
        ((np.ones(5), None, 2, True, 0.5), TypeError, r"rng= takes a numpy.random.Generator .*, or a seed, not 0.5"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, text):
    with pytest.raises(error, match=text):
        optim.batches(*arguments)


# The documents' numbers


def test_the_documents_hundred_samples_in_batches_of_32():
    entry = ENTRIES["mini-batch-shapes"]
    stream = np.random.RandomState(42)
    X, y, order = stream.randn(entry["inputs"]["n"], 4), stream.randint(0, 3, 100), np.arange(100)
    stream.shuffle(order)
    expected = entry["expected"]
    found = list(optim.batches(X[order], y[order], entry["inputs"]["batch_size"], shuffle=False))
    assert [len(x) for x, _ in found] == expected["batch_sizes"]
    assert order.tolist() == expected["order"]
    assert np.concatenate([labels for _, labels in found]).tolist() == y[expected["order"]].tolist()
    assert y.tolist() == expected["labels"] or y[order].tolist() == expected["labels"]
    np.testing.assert_allclose(X[0], expected["first_row_of_X"], rtol=1e-12)


def test_the_documents_updates_per_epoch():
    entry = ENTRIES["exercise-4-batch-sizes"]
    X, y = np.zeros((400, 2)), np.zeros(400)
    for size in entry["inputs"]["batch_sizes"]:
        n = 400 if size == "full" else size
        found = optim.batches(X, y, n, shuffle=True, rng=np.random.default_rng(0))
        key = str(n)
        assert len(found) == entry["expected"]["updates_per_epoch_for_400_samples"][key]
        assert [len(x) for x, _ in found][-1] == entry["expected"]["last_batch_size"][key]
