"""Parameters as one vector, and clipped gradients: PyTorch's numbers, without its overflows."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import autodiff as ad
import nn
from autodiff.clipping import clip_grad_norm_, clip_grad_value_
from nn.utils import parameters_to_vector, vector_to_parameters


def with_grad(values, dtype="float64"):
    t = ad.Tensor(np.zeros(np.shape(values), dtype), requires_grad=True)
    t.grad = ad.Tensor(np.array(values, dtype))
    return t


# Vectors


def test_parameters_become_the_same_vector_as_pytorch_s_and_come_back():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    mine = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    mine.load_state_dict(theirs.state_dict())
    vector = parameters_to_vector(mine.parameters())
    expected = torch.nn.utils.parameters_to_vector(theirs.parameters()).detach().numpy()
    np.testing.assert_array_equal(vector.data, expected)
    arrays = [p.data for p in mine.parameters()]
    new = np.arange(vector.size, dtype="float32")
    vector_to_parameters(new, mine.parameters())
    torch.nn.utils.vector_to_parameters(torch.tensor(new), theirs.parameters())
    for p, array, q in zip(mine.parameters(), arrays, theirs.parameters(), strict=True):
        assert p.data is array
        np.testing.assert_array_equal(array, q.detach().numpy())


def test_the_vector_is_recorded():
    model = nn.Linear(2, 1)
    (parameters_to_vector(model.parameters()) ** 2).sum().backward()
    np.testing.assert_array_equal(model.weight.grad.data, 2 * model.weight.data)


@given(shapes=st.lists(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3), max_size=5))
def test_vector_and_parameters_are_inverse_to_each_other(shapes):
    rng = np.random.default_rng(0)
    arrays = [rng.integers(-9, 9, s) for s in shapes]  # which both dtypes hold exactly
    ps = [nn.Parameter(a, dtype=d) for a, d in zip(arrays, ["float32", "float64"] * 3)]
    before = [p.data.copy() for p in ps]
    vector = parameters_to_vector(ps)
    assert vector.shape == (sum(a.size for a in arrays),)
    vector_to_parameters(vector[::-1], ps)
    vector_to_parameters(ad.Tensor(parameters_to_vector(ps).data[::-1]), ps)
    for p, array in zip(ps, before):
        np.testing.assert_array_equal(p.data, array, strict=True)


def test_a_vector_that_is_a_view_of_a_parameter_is_read_first():
    a, b = nn.Parameter([1.0, 2.0]), nn.Parameter([0.0, 0.0, 0.0])
    both = nn.Parameter(np.arange(5.0))
    view = both.data[::-1]
    vector_to_parameters(view, [both])
    assert both.tolist() == [4.0, 3.0, 2.0, 1.0, 0.0]
    vector_to_parameters(both, [a, b])
    assert a.tolist() == [4.0, 3.0] and b.tolist() == [2.0, 1.0, 0.0]


def test_writing_a_vector_tells_the_engine_that_graphs_recorded_before_no_longer_fit():
    model = nn.Linear(2, 1)
    y = model(np.ones((1, 2), "float32")) ** 2
    vector_to_parameters(np.zeros(3), model.parameters())
    with pytest.raises(RuntimeError, match="written or assigned"):
        y.sum().backward()


def test_vectors_that_do_not_fit_are_refused_and_nothing_is_written():
    model = nn.Linear(2, 1)
    before = parameters_to_vector(model.parameters()).data
    for call, kind, words in [
        (lambda: vector_to_parameters(np.zeros(4), model.parameters()), ValueError, r"3 values.*\(3,\), not \(4,\)"),
        (lambda: vector_to_parameters(np.zeros((3, 1)), model.parameters()), ValueError, r"\(3,\), not \(3, 1\)"),
        (lambda: vector_to_parameters(np.array(["a"] * 3), model.parameters()), TypeError, "<U1"),
        (lambda: vector_to_parameters(np.zeros(3), [model.weight * 1.0, model.bias]), TypeError, "leaves"),
        (lambda: vector_to_parameters(np.zeros(3), model), TypeError, "not Linear"),
        (lambda: vector_to_parameters(np.zeros(3), [np.zeros(3)]), TypeError, "ndarray"),
        (lambda: parameters_to_vector(model.weight), TypeError, "not Parameter"),
        (lambda: parameters_to_vector([1.0]), TypeError, "float"),
    ]:
        with pytest.raises(kind, match=words):
            call()
    np.testing.assert_array_equal(parameters_to_vector(model.parameters()).data, before)
    assert parameters_to_vector([]).shape == (0,)


# Clipping by norm


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.0, 0.5, math.inf, "inf"])
@pytest.mark.parametrize("max_norm", [0.0, 0.7, 2, 1e6, math.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_clipped_gradients_and_the_norm_equal_pytorch_s(norm_type, max_norm, dtype):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s).astype(dtype) for s in [(3, 4), (), (0,), (5,)]]
    mine, theirs = (
        [with_grad(a, dtype) for a in arrays],
        [torch.zeros(a.shape, dtype=getattr(torch, dtype)) for a in arrays],
    )
    for q, a in zip(theirs, arrays):
        q.grad = torch.tensor(a)
    mine.append(ad.Tensor([1.0], requires_grad=True))  # has no gradient
    data = [p.grad.data for p in mine[:4]]
    filled = [q for q in theirs if q.numel()]  # torch has no inf-norm of nothing
    expected = torch.nn.utils.clip_grad_norm_(filled, max_norm, norm_type)
    total = clip_grad_norm_(iter(mine), max_norm, norm_type)
    assert isinstance(total, ad.Tensor) and total.shape == () and total.dtype == np.float64
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(total.item(), expected.item(), rtol=tolerance)
    for p, q, array in zip(mine, theirs, data):
        assert p.grad.data is array and array.dtype == dtype  # in place
        np.testing.assert_allclose(array, q.grad.numpy(), rtol=tolerance, atol=1e-30)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.0, math.inf])
@pytest.mark.parametrize("max_norm", [1.0, math.inf])
def test_norms_that_are_not_finite_do_to_gradients_what_they_do_in_pytorch(value, norm_type, max_norm):
    torch = pytest.importorskip("torch")
    p, q = with_grad([1.0, value, -2.0]), torch.zeros(3, dtype=torch.float64)
    q.grad = torch.tensor([1.0, value, -2.0], dtype=torch.float64)
    with pytest.raises(RuntimeError, match="cannot be clipped; nothing was changed"):
        clip_grad_norm_(p, max_norm, norm_type, error_if_nonfinite=True)
    assert p.grad.data[0] == 1.0
    total, expected = clip_grad_norm_(p, max_norm, norm_type), torch.nn.utils.clip_grad_norm_(q, max_norm, norm_type)
    np.testing.assert_equal(total.item(), expected.item())
    np.testing.assert_array_equal(p.grad.data, q.grad.numpy())


@pytest.mark.parametrize("scale, dtype", [(1e200, "float64"), (1e-200, "float64"), (1e30, "float32"), (3e4, "float16")])
@pytest.mark.parametrize("norm_type", [2.0, 3.0, 1.0])
def test_the_norm_neither_overflows_nor_vanishes_where_it_can_be_said(scale, dtype, norm_type):
    values = np.array([3.0, 4.0, 0.0]) / 4 * scale
    p = with_grad(values, dtype)
    held = p.grad.data.astype(np.float64) / scale
    total = clip_grad_norm_(p, scale / 100, norm_type)
    expected = np.sum(held**norm_type) ** (1 / norm_type)
    np.testing.assert_allclose(total.item() / scale, expected, rtol=1e-12)
    if scale > 1:
        factor = 1 / 100 / expected
        np.testing.assert_allclose(p.grad.data / scale, held * factor, rtol=2e-3 if dtype == "float16" else 1e-6)


def test_a_factor_below_the_gradient_s_dtype_is_applied_all_the_same():
    p = with_grad(np.full(4, 6e4), "float16")
    clip_grad_norm_(p, 1e-3)
    np.testing.assert_allclose(p.grad.data, 5e-4, rtol=1e-3)


def test_the_norm_of_many_small_values_is_summed_in_double_precision():
    values = np.full(3_000_000, 0.1, "float32")
    total = clip_grad_norm_(with_grad(values, "float32"), math.inf)
    assert total.item() == pytest.approx(math.sqrt(3_000_000) * float(np.float32(0.1)), rel=1e-12)


@pytest.mark.parametrize("norm_type", [0.5, 1, 2, 3, math.inf])
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_gradients_are_clipped_by_their_absolute_values_as_pytorchs(norm_type, dtype):
    torch = pytest.importorskip("torch")
    values = (np.array([3 - 4j, 1e-3j, -2], dtype), np.array([[0.5]], "float64"))
    ours, theirs = [ad.Tensor(v, requires_grad=True) for v in values], [torch.tensor(v) for v in values]
    for a, b in zip(ours, theirs):
        a.grad, b.grad = a.detach() * 1, b.clone()
    found = nn.utils.clip_grad_norm_(ours, 1.5, norm_type)
    wanted = torch.nn.utils.clip_grad_norm_(theirs, 1.5, norm_type)
    np.testing.assert_allclose(found.item(), wanted.item(), rtol=1e-6)
    for a, b in zip(ours, theirs):
        assert a.grad.dtype == a.dtype
        np.testing.assert_allclose(a.grad.data, b.grad.numpy(), rtol=1e-5)


def test_a_parameter_given_twice_counts_once_and_nothing_at_all_has_norm_zero():
    p = with_grad([3.0, 4.0])
    assert clip_grad_norm_([p, p], 10.0).item() == 5.0
    assert clip_grad_norm_([p, p], 1.0).item() == 5.0
    np.testing.assert_allclose(p.grad.data, [0.6, 0.8], rtol=1e-6)
    for norm_type in (2.0, 3.0, math.inf):
        assert clip_grad_norm_([], 1.0, norm_type).item() == 0.0
        assert clip_grad_norm_([with_grad(np.zeros((0, 2)))], 1.0, norm_type).item() == 0.0


@pytest.mark.parametrize(
    "clip", [lambda p: clip_grad_norm_(p, 1.0), lambda p: clip_grad_value_(p, 1.0)], ids=["norm", "value"]
)
def test_gradients_that_are_part_of_a_graph_stay_part_of_it(clip):
    x = ad.Tensor([3.0, 0.5], requires_grad=True)
    (x**3).sum().backward(create_graph=True)
    before = x.grad.data.copy()
    clip(x)
    clipped = x.grad
    assert clipped.requires_grad
    factor = clipped.data / before
    (second,) = ad.gradients(clipped.sum(), x)
    expected = 6 * x.data * (factor if factor[0] == factor[1] else [0.0, 1.0])
    np.testing.assert_allclose(second.data, expected, rtol=1e-12)


def test_a_gradient_that_shares_read_only_memory_is_replaced_and_its_source_left_alone():
    w = ad.Tensor([3.0, 4.0], requires_grad=True)
    p = ad.Tensor([0.0, 0.0], requires_grad=True)
    for clip in (lambda: clip_grad_norm_(p, 1.0), lambda: clip_grad_value_(p, 0.5)):
        p.grad = w.detach()
        clip()
        assert w.tolist() == [3.0, 4.0] and np.abs(p.grad.data).max() < 1


# Clipping by value


@pytest.mark.parametrize("bound", [0, 0.5, 1e9, math.inf])
def test_values_are_clipped_in_place_as_pytorch_clips_them(bound):
    torch = pytest.importorskip("torch")
    values = np.array([-3.0, -0.25, 0.0, math.nan, math.inf, 0.7])
    p, q = with_grad(values), torch.zeros(6, dtype=torch.float64)
    q.grad = torch.tensor(values)
    array = p.grad.data
    assert clip_grad_value_([p, ad.Tensor(1.0, requires_grad=True)], bound) is None
    torch.nn.utils.clip_grad_value_(q, bound)
    assert p.grad.data is array
    np.testing.assert_array_equal(array, q.grad.numpy())


def test_wrong_arguments_of_clipping_are_refused_before_anything_is_changed():
    p = with_grad([3.0, 4.0])
    for call, kind, words in [
        (lambda: clip_grad_norm_([p], -1.0), ValueError, "max_norm is at least 0, not -1"),
        (lambda: clip_grad_norm_([p], math.nan), ValueError, "max_norm"),
        (lambda: clip_grad_norm_([p], "much"), TypeError, "max_norm is a number"),
        (lambda: clip_grad_norm_([p], 1.0, 0), ValueError, "norm_type is above 0"),
        (lambda: clip_grad_norm_([p], 1.0, -math.inf), ValueError, "norm_type"),
        (lambda: clip_grad_norm_([p, np.ones(2)], 1.0), TypeError, "ndarray"),
        (lambda: clip_grad_norm_(nn.Linear(2, 1), 1.0), TypeError, r"model.parameters\(\)\), not Linear"),
        (lambda: clip_grad_value_([p], -1.0), ValueError, "clip_value is at least 0"),
        (lambda: clip_grad_value_(3.0, 1.0), TypeError, "float"),
    ]:
        with pytest.raises(kind, match=words):
            call()
    assert p.grad.tolist() == [3.0, 4.0]


def test_a_clipped_step_of_training_is_pytorch_s():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double()
    mine = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    mine.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(0).normal(size=(8, 3)) * 10
    (mine(x) ** 2).sum().backward()
    (theirs(torch.tensor(x)) ** 2).sum().backward()
    total = nn.utils.clip_grad_norm_(mine.parameters(), 0.1)
    np.testing.assert_allclose(
        total.item(), torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.1).item(), rtol=1e-12
    )
    for p, q in zip(mine.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.data, q.grad.numpy(), rtol=1e-9)


def test_a_vector_that_is_the_parameters_own_memory_is_read_before_it_is_written():
    memory = np.arange(3.0)
    first, second = nn.Parameter([0.0], dtype="float64"), nn.Parameter([0.0, 0.0], dtype="float64")
    first.data, second.data = memory[2:], memory[:2]
    nn.utils.vector_to_parameters(memory, [first, second])
    assert first.data.tolist() == [0.0] and second.data.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("clip", [lambda ps: clip_grad_norm_(ps, 1.0), lambda ps: clip_grad_value_(ps, 1.0)])
def test_a_generator_that_was_gone_through_before_is_warned_about(clip):
    model = nn.Linear(2, 1)
    for p in model.parameters():
        p.grad = ad.Tensor(np.full(p.shape, 3.0, "float32"))
    used = model.parameters()
    list(used)
    with pytest.warns(UserWarning, match="gone through only once") as caught:
        clip(used)
    assert caught[0].filename == __file__ and model.weight.grad.data[0, 0] == 3.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clip([]), clip(model.parameters()), clip(nn.Linear(2, 1).parameters())  # gradients None: nothing to say
