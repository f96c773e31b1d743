"""A compiled function gives what the function gives, at every call, or says why it cannot be compiled."""

import copy
import gc
import importlib.util
import pickle
import random
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

import autodiff as ad
import nn
import optim
from autodiff import Tensor
from autodiff.compiling.tracer import TraceError
from autodiff.transforms.tree import flatten
from tests.autodiff.test_random_programs import draw_program

A = np.arange(6.0).reshape(2, 3)


def loss(w, b, x):
    return (np.tanh(x @ w + b) ** 2).mean()


def drawn(seed, dtype="f8"):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(dtype) for shape in ((3, 4), (4,), (5, 3))]


def same(found, expected, rtol=1e-12):
    (a, form), (b, other) = flatten(found), flatten(expected)
    assert form.paths() == other.paths()
    for x, y in zip(a, b, strict=True):
        assert type(x) is type(y) or np.shape(x) == np.shape(y) == ()  # 0-d arrays and NumPy's scalars are one
        if isinstance(x, str):
            assert x == y
            continue
        x, y = (v.data if isinstance(v, Tensor) else v for v in (x, y))
        assert np.shape(x) == np.shape(y) and np.asarray(x).dtype == np.asarray(y).dtype
        np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-13)


# Values


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("transform", [
    lambda f: f,
    lambda f: ad.grad(f, (0, 1)),
    lambda f: ad.value_and_grad(f, (0, 1)),
    lambda f: ad.hessian(f, 1),
    lambda f: lambda w, b, x: ad.hvp(lambda w: f(w, b, x), w, 0.5 * w),
    lambda f: lambda w, b, x: ad.jvp(lambda w: f(w, b, x), w, 0.5 * w),
    lambda f: ad.jacobian(lambda w, b, x: np.tanh(x @ w + b)[0], 1),
])  # fmt: skip
def test_a_transform_compiled_gives_at_other_values_what_it_gives_eagerly(transform, dtype):
    function = transform(loss)
    compiled = ad.compile(function)
    for seed in range(3):
        same(compiled(*drawn(seed, dtype)), function(*drawn(seed, dtype)), 1e-12 if dtype == "f8" else 1e-5)
    assert len(compiled.programs) == 1


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(0, 2**32 - 1), st.sampled_from(["gradient", "curvature", "tangent"]))
def test_random_programs_compiled_give_at_other_values_what_they_give_eagerly(length, seed, what):
    program = draw_program(length, seed)
    note(f"{program}")
    gradient = ad.value_and_grad(program, tuple(range(len(program.leaves))))
    function = {
        "gradient": gradient,
        "curvature": lambda *xs: ad.hvp(program, xs, tuple(x * 0 + 0.5 for x in xs)),
        "tangent": lambda *xs: ad.jvp(program, xs, tuple(x * 0 + 0.5 for x in xs)),
    }[what]
    compiled = ad.compile(function, on_unsupported="eager")
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        compiled(*program.leaves)
        for special in (False, True):
            xs = [x + rng.normal(size=x.shape) * 0.3 for x in program.leaves]
            if special:
                xs = [np.where(rng.random(x.shape) < 0.2, rng.choice([np.nan, np.inf, 0.0, -0.0]), x) for x in xs]
            try:
                expected = function(*xs)
            except Exception as error:
                with pytest.raises(type(error)):
                    compiled(*xs)
                continue
            for a, b in zip(flatten(compiled(*xs))[0], flatten(expected)[0], strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13, err_msg=compiled.explain())


def test_results_have_the_types_and_the_form_that_the_function_gives():
    def f(x, t):
        return {"a": x * 2, "b": (t.sum(), None, 3, "text"), "c": np.sum(x)}

    compiled = ad.compile(f)
    for k in (1, 2):
        same(compiled(A * k, Tensor(A)), f(A * k, Tensor(A)))


def test_results_are_arrays_of_their_own_at_every_call():
    compiled = ad.compile(lambda x: (np.exp(x), np.exp(x), x.copy(), np.zeros_like(x)))
    x = A.copy()
    first = compiled(x)
    kept = [r.copy() for r in first]
    second = compiled(x + 1)
    for i, r in enumerate(first):
        r += 1
        assert not any(np.shares_memory(r, other) for other in (*first[:i], *first[i + 1 :], *second, x))
        np.testing.assert_array_equal(r, kept[i] + 1)
    np.testing.assert_array_equal(compiled(x)[3], 0)


def test_with_reuse_outputs_results_lie_where_the_next_call_writes_them():
    compiled = ad.compile(lambda x: np.exp(x) + 1, reuse_outputs=True)
    first = compiled(A)
    np.testing.assert_array_equal(first, np.exp(A) + 1)
    assert compiled(A + 1) is first
    np.testing.assert_array_equal(first, np.exp(A + 1) + 1)


def test_with_reuse_outputs_a_result_can_be_the_next_argument():
    def f(x):
        y = x + 1
        return y + y[::-1] * x

    compiled = ad.compile(f, reuse_outputs=True)
    x, expected = A.copy(), A.copy()
    for _ in range(4):
        x, expected = compiled(x), f(expected)
        np.testing.assert_array_equal(x, expected)
    state = ad.tensor(A)
    advance = ad.compile(lambda: f(state.data), reuse_outputs=True)
    expected = A.copy()
    for _ in range(4):
        state.data, expected = advance(), f(expected)
        np.testing.assert_array_equal(state.data, expected)


def test_with_reuse_outputs_a_result_that_is_written_by_the_next_call_is_written():
    def f(x):
        x += 1
        return x[::-1] * 2

    compiled = ad.compile(f, reuse_outputs=True)
    first = compiled(A.copy())
    expected = first.copy()
    kept = first.copy()
    np.testing.assert_array_equal(compiled(first), f(expected))
    np.testing.assert_array_equal(first, kept + 1)


@pytest.mark.parametrize("dtype", ["f2", "f4", "i4", "u1", "bool"])
def test_dtypes_are_numpys(dtype):
    def f(x):
        return [np.mean(x, axis=0), x.sum(), x * 2 + 1, x / 3, x**2, np.cumsum(x, axis=1), np.max(x), np.std(x), x @ x.T,
                np.clip(x, 0, 1), np.where(x > 1, x, 0), np.stack([x, x * 2], axis=-1), np.flip(x, 1), np.round(x * 1.5),
                np.moveaxis(x, 0, 1) + 0, np.diagonal(x) * 1, np.outer(x[0], x[1]), np.pad(x, 1), np.linalg.norm(x),
                np.tensordot(x, x, axes=([1], [1])), np.einsum("ij,kj->ik", x, x), np.argmax(x, axis=1),
                x.astype(float) - x, np.full_like(x, 1) + x, np.take(x, [0, 1], axis=1), (x > 0).any()]  # fmt: skip

    compiled = ad.compile(f)
    for x in ((A - 1).astype(dtype), (2 - A).astype(dtype)):
        same(compiled(x), f(x), 2e-3 if dtype == "f2" else 1e-6)


def test_what_the_function_writes_into_an_argument_is_written():
    def f(x, y):
        x += y
        x[0] = 7
        return x * 2

    compiled, (x, z) = ad.compile(f), (A.copy(), A.copy())
    for _ in range(2):
        np.testing.assert_array_equal(compiled(x, A), f(z, A))
        np.testing.assert_array_equal(x, z)
    np.testing.assert_array_equal(compiled(x, x[:]), f(z, z[:]))  # of shared memory
    np.testing.assert_array_equal(x, z)


def test_the_source_runs_with_numpy_alone_and_gives_the_same_bits(tmp_path):
    large = np.random.default_rng(0).normal(size=(3, 100))
    compiled = ad.compile(ad.value_and_grad(lambda w: (np.tanh(w @ large) ** 2).sum()))
    w = np.random.default_rng(1).normal(size=(2, 3))
    value, slope = compiled(w)
    compiled.save(tmp_path / "model.py")
    assert "autodiff" not in compiled.source
    spec = importlib.util.spec_from_file_location("model", tmp_path / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.gradient(w)
    assert found[0] == value and found[1].tobytes() == slope.tobytes()
    with pytest.raises(ValueError, match=r"ends in \.py"):
        compiled.save(tmp_path / "model.txt")


def saved(compiled, path):
    """The function of the module that is saved, as a user imports it."""
    compiled.save(path)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.gradient


def test_a_saved_module_refuses_arguments_of_other_shapes_and_dtypes(tmp_path):
    compiled = ad.compile(ad.grad(loss))
    w, b, x = drawn(0)
    slope = compiled(w, b, x)
    gradient = saved(compiled, tmp_path / "model.py")
    np.testing.assert_array_equal(gradient(w, b, x)[0], slope)
    np.testing.assert_array_equal(gradient(np.asfortranarray(w), b, x)[0], slope)
    for args, match in [
        ((w, b, x[:1]), r"gradient: x is a NumPy array of float64\[5, 3\], not ndarray of float64\[1, 3\]"),
        ((w, b, x.astype("f4")), r"gradient: x is .*float64\[5, 3\], not ndarray of float32\[5, 3\]"),
        ((w, b[:1], x), r"gradient: b is"),
        (([[1.0], []], b, x), r"gradient: w is .*, not list"),
        ((np.ma.array(w), b, x), r"gradient: w is .*, not MaskedArray of float64"),
        ((w, 1.0, x), r"gradient: b is .*, not float$"),
        ((ad.Tensor(w), b, x), r"gradient: w is .*, not Tensor of float64"),
    ]:
        with pytest.raises(TypeError, match=match):
            gradient(*args)
    assert gradient.__doc__.split() == compiled.source.partition('"""')[2].partition('"""')[0].split()
    assert "x: float64[5, 3]" in gradient.__doc__


def test_a_saved_step_refuses_a_learning_rate_that_is_no_number(tmp_path):
    w = Tensor(np.ones(2), requires_grad=True, name="w")
    optimizer = optim.SGD([w], lr=0.1)

    def gradient(x):
        optimizer.zero_grad()
        ((w * x) ** 2).mean().backward()
        optimizer.step()

    compiled = ad.compile(gradient, params=[w], optimizer=optimizer)
    compiled(A[0, :2])
    step, found = saved(compiled, tmp_path / "model.py"), w.data.copy()
    options = [0.1 if "lr: " in line else 0.0 for line in step.__doc__.splitlines()[4:-1]]
    compiled(A[0, :2])
    step(A[0, :2], found, *options)
    np.testing.assert_array_equal(w.data, found)
    with pytest.raises(TypeError, match="lr is a Python float, not float64 of float64"):
        step(A[0, :2], found, *np.zeros(len(options)))


@pytest.mark.parametrize("name", ["1a.py", "my-model.py", "class.py", "model.txt"])
def test_what_no_import_finds_is_not_saved(name, tmp_path):
    compiled = ad.compile(lambda x: x * 2)
    compiled(A)
    with pytest.raises(ValueError, match="save takes the name of a module"):
        compiled.save(tmp_path / name)
    assert not [*tmp_path.iterdir()]


def test_the_source_has_the_names_and_lines_of_the_user():
    compiled = ad.compile(ad.grad(loss))
    compiled(*drawn(0))
    assert "def gradient(w, b, x):" in compiled.source
    assert "# test_compile.py:" in compiled.source and "return (np.tanh(x @ w + b) ** 2).mean()" in compiled.source


# Signatures


def test_another_shape_dtype_layout_number_or_form_is_another_program_and_the_first_is_kept():
    compiled = ad.compile(lambda x, n=2: np.sum(x * n))
    calls = [(A,), (A.astype("f4"),), (A[:1],), (np.asfortranarray(A),), (A, 3), (A, 3.0), (A, 2.0)]
    for _ in range(2):
        for args in calls:
            assert compiled(*args) == np.sum(args[0] * (args[1] if len(args) > 1 else 2))
    assert len(compiled.programs) == len(calls)


def test_after_eight_programs_one_warning_says_what_changes():
    compiled = ad.compile(lambda x: x * 2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(1, 12):
            compiled(np.ones((3, n)))
    assert [str(w.message) for w in caught if "changes its length along axis 1" in str(w.message)]
    assert len(caught) == 1 and caught[0].filename == __file__


@pytest.mark.parametrize("on", [True, False])
def test_the_grad_mode_belongs_to_the_signature(on):
    compiled = ad.compile(lambda x: ad.is_grad_enabled() * np.sum(x))
    assert compiled(A) == A.sum()
    with ad.no_grad():
        assert compiled(A) == 0
    assert compiled(A) == A.sum()


# What is closed over


def test_closed_over_tensors_are_read_at_every_call():
    w = Tensor(A, requires_grad=True)
    other = [Tensor(2.0), {"c": Tensor(np.ones(3))}]

    def f(x):
        return (w * other[0] * other[1]["c"] * x).sum().detach()

    compiled = ad.compile(f)
    same(compiled(A), f(A))
    w.data += 1
    other[0].data = np.array(5.0)
    same(compiled(A), f(A))
    other[1]["c"] = Tensor(np.full(3, 7.0))
    same(compiled(A), f(A))
    w.data = np.ones((1, 3))
    same(compiled(A), f(A))


def hidden():
    return _HIDDEN[0]()


_HIDDEN = [lambda: None]


def test_tensors_reached_in_other_ways_are_inputs_too():
    w = Tensor(A)
    _HIDDEN[0] = type("Holder", (), {"__call__": lambda self: w, "__slots__": ()})()
    compiled = ad.compile(lambda x: (hidden() * x).sum())
    same(compiled(A), (w * A).sum())
    w.data *= 2
    same(compiled(A), (w * A).sum())


SCALE = 2.0
TABLE = {"k": [1.0, 2.0]}


def test_numbers_arrays_and_attributes_that_change_are_seen(monkeypatch):
    class Model:
        def __init__(self):
            self.rate, self.table = 3.0, np.ones(3)

        def __call__(self, x):
            return x * self.rate * self.table.sum()

    model, offset, array = Model(), 1.0, np.arange(3.0)

    def f(x):
        return model(x) * SCALE + offset + array + (array**2) + TABLE["k"][1]

    compiled = ad.compile(f)
    changes = [
        lambda: None, lambda: setattr(model, "rate", 4.0), lambda: model.table.__setitem__(0, 9.0),
        lambda: setattr(model, "table", np.full(3, 5.0)), lambda: array.__setitem__(1, -1.0),
        lambda: monkeypatch.setitem(globals(), "SCALE", 7.0), lambda: TABLE["k"].__setitem__(1, 8.0),
    ]  # fmt: skip
    for change in changes:
        change()
        same(compiled(A), f(A))
    offset = 11.0
    same(compiled(A), f(A))
    assert "because offset has changed" in compiled.explain()


def test_train_and_eval_are_different_programs():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1))
    twin = copy.deepcopy(model)

    def of(net):
        return lambda x: net(x).detach()

    compiled, eager = ad.compile(of(model), on_unsupported="eager"), of(twin)
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("f4")
    for training in (True, False, True):
        model.train(training), twin.train(training)
        for k in range(2):
            same(compiled(x + k), eager(x + k), 1e-5)
            for a, b in zip(model.buffers(), twin.buffers()):
                np.testing.assert_allclose(a.data, b.data, rtol=1e-5)


# Branches


def test_a_branch_that_goes_another_way_is_another_program():
    def f(x):
        return x * 2 if np.sum(x) > 0 else -x

    compiled = ad.compile(f)
    for sign in (1, -1, 1, -1):
        np.testing.assert_array_equal(compiled(A * sign), f(A * sign))
    assert len(compiled.programs) == 2 and "another branch was decided" in compiled.explain()


def test_a_value_that_is_another_every_time_ends_in_eager_calls():
    compiled = ad.compile(lambda x: x * float(np.sum(x)))
    with pytest.warns(UserWarning, match="run as it is from now on .*another number was read at test_compile.py:") as w:
        for k in range(12):
            np.testing.assert_array_equal(compiled(A + k), (A + k) * float(np.sum(A + k)))
    assert len(w) == 1 and w[0].filename == __file__
    assert "run as it is" in compiled.explain() and "branch" not in compiled.explain()


def test_a_number_that_is_closed_over_and_changes_at_every_call_ends_in_eager_calls_with_a_warning():
    rate = 0.0
    compiled = ad.compile(lambda x: x * rate)
    with pytest.warns(UserWarning, match=r"because rate has changed; give what changes .* as an argument") as w:
        for rate in range(12):
            np.testing.assert_array_equal(compiled(A), A * rate)
    assert len(w) == 1 and w[0].filename == __file__


@pytest.mark.parametrize("arguments, match", [
    ([np.ones((2,) * n, d) for n in range(5) for d in "fd"], "changes its shape and dtype at its calls; give arrays of"),
    ([np.ones((n + 1, 2), d) for n in range(5) for d in "fd"], "length along axis 0 and dtype at its calls; give arr"),
    ([np.dtype(d).type(1) for d in "fdeBHILbhilFD"], "changes its dtype at its calls; give arrays of one kind and"),
    ([*(np.ones(n) for n in range(8)), np.float64(1)], "changes its type at its calls; give arrays of one kind and"),
    ([np.ones((2,) * n) for n in range(9)], "changes its shape at its calls; give arrays of equal shapes"),
    ([*range(9)], "changes its value at its calls; give arrays in place of numbers"),
    ([*range(8), np.ones(2)], "changes its value at its calls; give arrays in place of numbers"),
    ([np.ones((20, 2))[:: n + 1][:2] for n in range(9)],
     "changes its layout at its calls; give arrays of equal"),
])  # fmt: skip
def test_the_warning_of_many_programs_says_what_differs_between_them(arguments, match):
    compiled = ad.compile(lambda x: x * 2)
    with pytest.warns(UserWarning, match=f"has 9 programs now, because argument 0 .*{match}"):
        for x in arguments:
            compiled(x)


@pytest.mark.parametrize("bad", [0.0, np.inf, np.nan, -1.0])
def test_what_a_rule_takes_for_granted_is_checked(bad):
    slope = ad.grad(lambda x: np.where(x > 0, np.sqrt(np.abs(x)), 0).sum() + np.hypot(x, 1).sum())
    compiled = ad.compile(slope)
    good = A + 1
    with np.errstate(all="ignore"):
        for x in (good, np.where(A == 2, bad, good), good + 1):
            same(compiled(x), slope(x))
        again = ad.compile(slope)  # first met with the special case
        for x in (np.where(A == 2, bad, good), good):
            same(again(x), slope(x))


# Training


def trainer(model, optimizer, x, y):
    def step(x, y):
        optimizer.zero_grad()
        error = ((model(x) - y) ** 2).mean()
        error.backward()
        optimizer.step()
        return error

    return step


OPTIMIZERS = {
    "SGD": lambda ps: optim.SGD(ps, lr=0.1),
    "momentum": lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "Adam": lambda ps: optim.Adam(ps, lr=0.01, amsgrad=True),
    "AdamW": lambda ps: optim.AdamW(ps, lr=0.01),
    "RMSprop": lambda ps: optim.RMSprop(ps, lr=0.01, momentum=0.5),
    "Adagrad": lambda ps: optim.Adagrad(ps, lr=0.01),
    "RAdam": lambda ps: optim.RAdam(ps, lr=0.01),
    "Lion": lambda ps: optim.Lion(ps, lr=0.01),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_compiled_training_step_does_what_the_step_does(name):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 2)).astype("f4"), rng.normal(size=(16, 1)).astype("f4")
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    twin = copy.deepcopy(model)
    mine, theirs = OPTIMIZERS[name](model.parameters()), OPTIMIZERS[name](twin.parameters())
    step, eager = ad.compile(trainer(model, mine, x, y), params=model, optimizer=mine), trainer(twin, theirs, x, y)
    for k in range(9):
        if k == 4:
            mine.param_groups[0]["lr"] = theirs.param_groups[0]["lr"] = 0.003
        if k == 6:  # one eager step between
            trainer(model, mine, x, y)(x, y), eager(x, y)
        a, b = step(x + k, y), eager(x + k, y)
        np.testing.assert_allclose(a.data, b.data, rtol=1e-6)
        for p, q in zip(model.parameters(), twin.parameters()):
            np.testing.assert_allclose(p.data, q.data, rtol=2e-6, atol=1e-7)
            np.testing.assert_allclose(p.grad.data, q.grad.data, rtol=1e-5, atol=1e-6)
        for s, t in zip(mine.state_dict()["state"].values(), theirs.state_dict()["state"].values()):
            for key in t:
                np.testing.assert_allclose(s[key], t[key], rtol=1e-5, atol=1e-7)
    assert mine.stepped and len(step.programs) <= 4


def test_a_compiled_step_counts_as_a_write_of_the_parameters():
    w = Tensor(np.ones(3), requires_grad=True)
    optimizer = optim.SGD([w], lr=0.1)

    @ad.compile(params=[w], optimizer=optimizer)
    def step():
        optimizer.zero_grad()
        (w * w).sum().backward()
        optimizer.step()

    step()
    before = (w * w).sum()
    step()
    with pytest.raises(RuntimeError, match="written"):
        before.backward()


def test_a_step_that_fails_leaves_parameters_and_state_as_they_were():
    w = Tensor(np.eye(2), requires_grad=True)
    optimizer = optim.Adam([w], lr=0.1)

    @ad.compile(optimizer=optimizer)
    def step(a):
        optimizer.zero_grad()
        ad.linalg.solve(w * a, np.ones(2)).sum().backward()
        optimizer.step()

    step(np.eye(2))
    kept, state = w.data.copy(), copy.deepcopy(optimizer.state_dict())
    with pytest.raises(np.linalg.LinAlgError):
        step(np.zeros((2, 2)))
    np.testing.assert_array_equal(w.data, kept)
    np.testing.assert_equal(optimizer.state_dict(), state)


def test_gradients_are_left_and_added_up_as_in_an_eager_call():
    w, v = (Tensor(np.ones(3), requires_grad=True) for _ in "ab")

    def of(w):
        return lambda x: (w * x * w).sum().backward()

    compiled, eager = ad.compile(of(w)), of(v)
    for k in range(4):
        compiled(np.arange(3.0) + k), eager(np.arange(3.0) + k)
        np.testing.assert_array_equal(w.grad.data, v.grad.data)


@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize("ending", ["kept", "forgotten", "read", "scaled"])
def test_gradients_of_arguments_are_read_added_to_and_forgotten_as_in_an_eager_call(ending, backend):
    def f(t, u):
        (t**2 * u.detach()).sum().backward()
        found = t.grad.data * 1
        if ending == "forgotten":
            t.grad = None
        elif ending == "scaled":
            t.grad = t.grad * 3
        elif ending == "read":
            (t * 1.5).sum().backward()
        return found, t.grad.data if ending == "read" else 0.0

    compiled = ad.compile(f, backend=backend)
    ts = [Tensor(A, requires_grad=True) for _ in range(2)]
    for k in range(4):
        u = Tensor(A + k)
        same(compiled(ts[0], u), f(ts[1], u))
        same(ts[0].grad, ts[1].grad) if ending != "forgotten" else None
        assert (ts[0].grad is None) is (ts[1].grad is None)
    ts[0].grad, ts[1].grad = Tensor(np.ones_like(A).T.copy().T), Tensor(np.ones_like(A))
    same(compiled(ts[0], u), f(ts[1], u))


def test_gradients_meet_where_a_tensor_is_given_twice_or_closed_over_too():
    w = Tensor(A, requires_grad=True)

    def f(t, u):
        (t * u * w).sum().backward()
        return t.grad.data * 1

    compiled = ad.compile(f)
    other = Tensor(2 * A, requires_grad=True)
    for pair in ((other, w), (other, other), (w, w), (Tensor(A, requires_grad=True), other)):
        results = []
        for g in (f, compiled):
            w.grad = other.grad = pair[0].grad = None
            results.append((g(*pair), w.grad, other.grad))
        same(results[1][0], results[0][0])
        for a, b in zip(results[1][1:], results[0][1:]):
            assert (a is None) is (b is None)
            assert a is None or np.array_equal(a.data, b.data)


def test_writes_under_no_grad_are_those_of_gradient_descent_by_hand():
    w, v = (Tensor(np.ones(3), requires_grad=True) for _ in "ab")

    def of(w):
        def step(x):
            g = ad.grad(lambda w: ((w * x) ** 2).sum())(w.detach())
            with ad.no_grad():
                w[...] = w - 0.1 * g

        return step

    compiled, eager = ad.compile(of(w)), of(v)
    for k in range(3):
        compiled(np.arange(3.0) + k), eager(np.arange(3.0) + k)
        np.testing.assert_array_equal(w.data, v.data)


def test_dropout_draws_the_masks_that_it_draws_eagerly():
    rngs = [np.random.default_rng(3) for _ in "ab"]
    one, two = (nn.Dropout(0.5, rng=rng) for rng in rngs)
    gradients = [ad.grad(lambda x, layer=layer: (layer(x) ** 2).sum()) for layer in (one, two)]
    compiled = ad.compile(gradients[0])
    for k in range(4):
        np.testing.assert_array_equal(compiled(A + k), gradients[1](A + k))
    assert rngs[0].random() == rngs[1].random() and len(compiled.programs) == 1


def test_memory_that_is_written_and_read_under_another_name_is_seen():
    w, v = (Tensor(np.ones(3), requires_grad=True) for _ in "ab")

    def of(w):
        alias = w.detach()

        def f(x):
            with ad.no_grad():
                w[...] = w + x
            return (alias * 2).copy()

        return f

    compiled, eager = ad.compile(of(w)), of(v)
    for _ in range(3):
        np.testing.assert_array_equal(compiled(np.ones(3)).data, eager(np.ones(3)).data)
    np.testing.assert_array_equal(compiled(w.data).data, eager(v.data).data)
    np.testing.assert_array_equal(w.data, v.data)


def twins(of, *calls):
    """The same calls of a compiled function and of an eager one, each with a tensor of its own."""
    w, v = (Tensor(np.ones(3), requires_grad=True) for _ in "ab")
    compiled, eager = ad.compile(of(w)), of(v)
    with np.errstate(all="ignore"):
        for x in calls:
            same(compiled(np.array(x)), eager(np.array(x)))
            np.testing.assert_array_equal(w.data, v.data)


def test_old_values_that_are_read_after_a_write_are_the_old_ones():
    def of(w):
        def f(x):
            old = w.detach().copy()
            with ad.no_grad():
                w[...] = w * 2 + x
            return old * 3

        return f

    twins(of, [1.0, 2.0, 3.0], [2.0, 0.0, 1.0])


def test_what_shares_the_memory_of_a_written_tensor_has_its_new_values():
    def of(w):
        alias = w.detach()

        def f(x):
            old = w.detach().copy()
            with ad.no_grad():
                w[...] = w * 2 + x
            return (alias * 3 + old).copy()

        return f

    twins(of, [1.0, 2.0, 3.0], [2.0, 0.0, 1.0])


def test_nothing_is_written_twice_where_a_later_check_fails():
    def of(w):
        def f(x):
            with ad.no_grad():
                w[...] = w - x
            return ad.grad(lambda x: np.sqrt(x).sum())(x)

        return f

    twins(of, [1.0, 2.0, 3.0], [2.0, 0.0, 1.0], [0.0, 0.0, 1.0])


def test_a_draw_before_a_check_that_fails_is_made_once():
    def of(w):
        layer = nn.Dropout(0.5, rng=np.random.default_rng(3))
        return lambda x: layer(x) * ad.grad(lambda x: np.sqrt(x).sum())(x)

    twins(of, [1.0, 2.0, 3.0], [2.0, 0.0, 1.0], [4.0, 5.0, 1.0])


def test_constants_of_one_number_keep_their_shape():
    twins(lambda w: lambda x: np.full((4, 1), 2.0) * x + np.zeros((2, 1, 1)), [1.0, 2.0, 3.0], [4.0, 5.0, 1.0])


def test_gradients_are_clipped_and_groups_have_their_own_rates():
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    models = model, copy.deepcopy(model)
    steps = []
    for net in models:
        groups = [{"params": net[0].parameters(), "lr": 0.1}, {"params": net[2].parameters()}]
        optimizer = optim.SGD(groups, lr=0.01, momentum=0.5)

        def step(x, net=net, optimizer=optimizer):
            optimizer.zero_grad()
            (net(x) ** 2).mean().backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.05)
            optimizer.step()

        steps.append(step if net is models[1] else ad.compile(step, params=net, optimizer=optimizer))
    for _ in range(4):
        x = rng.normal(size=(8, 2)).astype("f4")
        steps[0](x), steps[1](x)
        for p, q in zip(*(net.parameters() for net in models)):
            np.testing.assert_allclose(p.data, q.data, rtol=1e-5, atol=1e-7)


def test_an_error_of_the_function_leaves_its_tensors_as_they_were():
    w = Tensor(np.ones(3), requires_grad=True)

    @ad.compile
    def f(x):
        (w * x).sum().backward()
        raise KeyError("of the user")

    with pytest.raises(KeyError, match="of the user"):
        f(np.ones(3))
    assert type(w.data) is np.ndarray and w.grad is None


# What cannot be compiled


@pytest.mark.parametrize("on_unsupported", ["error", "eager"])
@pytest.mark.parametrize("x", [np.array([1, 2]), np.array([True, False]), np.array(["a"])])
@pytest.mark.parametrize("transform", [ad.grad, ad.jacobian, ad.hessian, ad.value_and_grad])
def test_arrays_that_have_no_derivative_are_the_same_error_as_in_an_eager_call(transform, x, on_unsupported):
    derivative = transform(lambda x: (x**2).sum())
    with pytest.raises(TypeError) as eager:
        derivative(x)
    with pytest.raises(TypeError) as compiled:
        ad.compile(derivative, on_unsupported=on_unsupported)(x)
    assert str(compiled.value) == str(eager.value) and type(compiled.value) is TypeError
    assert f"not of {x.dtype}; pass floats" in str(eager.value)


def test_a_librarys_own_function_that_no_traced_array_can_enter_is_an_error_without_a_line():
    with pytest.raises(TraceError, match=r"as a traced array is; compute with NumPy's functions and operators$"):
        ad.compile(memoryview)(A)


RNG = np.random.default_rng(0)
COUNT = [0]


def counted(x):
    COUNT[0] += 1
    return x


@pytest.mark.parametrize("f, match", [
    (lambda x: x[x > 1], "shape depends on values"),
    (lambda x: np.nonzero(x), "shape depends on values"),
    (lambda x: np.asarray(x) * 2, "would become a NumPy array"),
    (lambda x: x.tolist(), "tolist"),
    (lambda x: x * RNG.normal(), "random numbers are drawn"),
    (lambda x: x * np.random.rand(), "random numbers are drawn"),
    (lambda x: x * random.random(), "random numbers are drawn"),
    (counted, "changes 'COUNT"),
    (lambda x: Tensor(1.0, requires_grad=True) * x, "carries a derivative"),
])  # fmt: skip
def test_what_no_program_can_repeat_is_an_error_that_names_the_line_or_runs_as_it_is(f, match):
    with pytest.raises(TraceError, match=match):
        ad.compile(f)(A)
    compiled = ad.compile(f, on_unsupported="eager")
    compiled(A), compiled(A)
    assert "run as it is" in compiled.explain() and not compiled.programs


def test_the_error_of_random_numbers_names_the_line_that_draws_them():
    class Noisy(nn.Module):
        def forward(self, x):
            y = x * 2
            z = y + np.random.normal(size=3)  # here
            return (z * y).sum()

    def inner(x):
        return x * 2

    def outer(x):
        y = inner(x)
        z = inner(y * random.random())  # here
        return inner(z)

    for f in (Noisy(), ad.grad(Noisy()), outer):
        with pytest.raises(TraceError, match=r"random numbers are drawn .*\n.*test_compile\.py:\d+: .*# here$"):
            ad.compile(f)(A)


def test_an_iterator_that_is_closed_over_is_refused():
    numbers = iter(range(9))
    with pytest.raises(TraceError, match="iterator 'numbers'"):
        ad.compile(lambda x: x * next(numbers))(A)


def test_an_error_that_is_caught_inside_is_raised_all_the_same():
    def f(x):
        try:
            return np.asarray(x) * 2
        except TypeError:
            return x

    with pytest.raises(TraceError, match="would become a NumPy array"):
        ad.compile(f)(A)


@pytest.mark.parametrize("options, match", [
    ({"backend": "fast"}, "backend"), ({"on_unsupported": "warn"}, "on_unsupported"), ({"params": [3]}, "params"),
    ({"reuse_outputs": 1}, "reuse_outputs"), ({"optimizer": object()}, "optimizer="),
])  # fmt: skip
def test_bad_options_are_one_clear_error(options, match):
    with pytest.raises((TypeError, ValueError), match=match):
        ad.compile(lambda x: x, **options)


def test_a_function_of_the_user_is_needed_and_a_call_before_its_source():
    with pytest.raises(TypeError, match="needs a function"):
        ad.compile(3)
    with pytest.raises(RuntimeError, match=r"\.source is known after a call"):
        ad.compile(lambda x: x).source


# Together with the rest


def test_compiled_functions_inside_others_and_inside_transforms_are_parts_of_them():
    inner = ad.compile(lambda x: np.sin(x) * x)
    outer = ad.compile(lambda x: inner(x) + 1)
    np.testing.assert_array_equal(outer(A), np.sin(A) * A + 1)
    np.testing.assert_array_equal(outer(A + 1), np.sin(A + 1) * (A + 1) + 1)
    with pytest.raises(TraceError, match="carries a derivative"):
        ad.grad(lambda x: inner(x).sum())(A)


def test_methods_can_be_compiled():
    class Model:
        def __init__(self):
            self.w = Tensor(np.ones(3))

        @ad.compile
        def predict(self, x):
            return self.w * x

    one, two = Model(), Model()
    two.w.data *= 2
    for model, factor in ((one, 1), (two, 2), (one, 1)):
        np.testing.assert_array_equal(model.predict(A).data, A * factor)


def test_threads_get_their_own_results():
    compiled = ad.compile(ad.value_and_grad(lambda x: (np.sin(x) ** 2).sum()))
    compiled(A)
    wrong = []

    def work(k):
        x = A + k
        for _ in range(50):
            value, slope = compiled(x)
            if not np.allclose(slope, 2 * np.sin(x) * np.cos(x)):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong and "numpy" in sys.modules


def test_loops_with_derivatives_are_unrolled():
    f = ad.grad(lambda r: ad.scan(lambda y, _: (y + r * y, None), 1.0, length=4)[0])
    compiled = ad.compile(f)
    for r in (0.1, 0.2):
        same(compiled(np.array(r)), f(np.array(r)))


def test_a_condition_on_a_number_that_is_read_says_at_which_line_and_what_to_write():
    def f(x):
        return x * 2 if float(x.sum()) > 0 else x * 3

    compiled = ad.compile(f)
    with pytest.warns(UserWarning) as warned:
        for k in range(12):
            np.testing.assert_array_equal(compiled(np.full(3, k + 0.5)), 2 * np.full(3, k + 0.5))
    (text,) = [str(w.message) for w in warned]
    assert "another number was read at test_compile.py:" in text
    assert "compare the array, x > 0" in text and "np.where or ad.cond" in text
    compiled = ad.compile(lambda x: x * 2 if x.sum() > 0 else x * 3)
    for k in range(12):
        compiled(np.full(3, k + 0.5))
    assert len(compiled.programs) == 1


CELLS = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.history_manager.enabled = False
run = lambda text: shell.run_cell(text, store_history=True)
run("import numpy as np, autodiff as ad")
run("def f(x):\\n    y = np.exp(x)\\n    return y * (1 if x.sum() > 0 else 2)")
run("c = ad.compile(f)\\nc(np.ones(2))")
run("c(-np.ones(2))\\nprint(c.source, c.explain())")
run("try:\\n    ad.compile(lambda x: x[x > 0])(np.ones(2))\\nexcept TypeError as error:\\n    print(error)")
"""


@pytest.mark.slow
def test_cells_of_a_notebook_are_named_as_ipython_counts_them():
    pytest.importorskip("IPython")
    out = subprocess.run([sys.executable, "-c", CELLS], capture_output=True, text=True, check=True).stdout
    assert "# In [2], line 2: y = np.exp(x)" in out and "another branch was decided at In [2], line 3" in out
    assert "  In [5], line 2: ad.compile(lambda x: x[x > 0])(np.ones(2))" in out and "ipython-input" not in out


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_calls_whose_branches_alternate_keep_nothing_alive_with_the_collector_off(backend):
    f, x = ad.compile(lambda x: x * 2 if x.sum() > 0 else x, backend=backend), np.ones(3)
    f(x), f(-x)
    gc.collect()
    gc.disable()
    try:
        before = sys.getrefcount(x)
        for _ in range(20):
            f(x), f(-x)
        assert sys.getrefcount(x) == before
    finally:
        gc.enable()


class Layer:
    """As a user writes it, with a compiled method."""

    def __init__(self):
        self.by = 2.0
        self.fast = ad.compile(self.scaled)

    def scaled(self, x):
        return x * self.by


@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
def test_a_copy_of_a_compiled_function_follows_the_copy_of_its_object(way):
    layer = Layer()
    np.testing.assert_array_equal(layer.fast(np.ones(2)), [2, 2])
    other = copy.deepcopy(layer) if way == "deepcopy" else pickle.loads(pickle.dumps(layer))
    other.by = 5.0
    np.testing.assert_array_equal(other.fast(np.ones(2)), [5, 5])
    np.testing.assert_array_equal(layer.fast(np.ones(2)), [2, 2])
    assert len(other.fast.programs) == 1
