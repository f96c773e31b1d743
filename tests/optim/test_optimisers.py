"""Every optimiser, step by step against PyTorch's in double precision; those it lacks against their formulas."""

import copy
import inspect
import json
import pickle

import numpy as np
import pytest

import autodiff as ad
import nn
import optim
from tests.documents import ENTRIES

OPTIONS = {
    "SGD": [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
            {"momentum": 0.8, "dampening": 0.3, "maximize": True, "lr": 1e-4}],
    "Adagrad": [{}, {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.2}, {"maximize": True}],
    "Adadelta": [{}, {"lr": 0.5, "rho": 0.7, "weight_decay": 0.1}, {"maximize": True, "eps": 1e-4}],
    "RMSprop": [{}, {"momentum": 0.8, "weight_decay": 0.1}, {"centered": True, "alpha": 0.9},
                {"centered": True, "momentum": 0.5, "maximize": True}],
    "Adam": [{}, {"amsgrad": True, "weight_decay": 0.1, "lr": 0.05}, {"betas": (0.5, 0.8), "eps": 1e-3, "maximize": True}],
    "AdamW": [{}, {"lr": 0.05, "weight_decay": 0.3, "amsgrad": True}, {"maximize": True}],
    "Adamax": [{}, {"lr": 0.05, "weight_decay": 0.1}, {"betas": (0.5, 0.6), "maximize": True}],
    "NAdam": [{}, {"lr": 0.05, "weight_decay": 0.1}, {"decoupled_weight_decay": True, "weight_decay": 0.1},
              {"momentum_decay": 0.1, "maximize": True}],
    "RAdam": [{"lr": 0.05}, {"weight_decay": 0.1}, {"decoupled_weight_decay": True, "weight_decay": 0.1, "maximize": True}],
    "Rprop": [{}, {"lr": 0.1, "etas": (0.3, 1.4), "step_sizes": (1e-4, 0.2)}, {"maximize": True}],
}  # fmt: skip
CASES = [(name, options) for name, many in OPTIONS.items() for options in many]
OWN = [
    ("LAMB", {"weight_decay": 0.1}),
    ("LARS", {"momentum": 0.9, "weight_decay": 0.1}),
    ("Lion", {"weight_decay": 0.1}),
]


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # NAdam keeps a product in the default dtype
    yield torch
    torch.set_default_dtype(before)


def quadratic(seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(6, 6))
    return a @ a.T + np.eye(6), rng.normal(size=6)


def largest_error(ours, theirs):
    return max(np.abs(p.data - t.detach().numpy()).max() / max(1, np.abs(p.data).max()) for p, t in zip(ours, theirs))


@pytest.mark.parametrize("name, options", CASES)
def test_on_a_quadratic_each_of_50_steps_is_pytorchs(torch, name, options):
    a, x0 = quadratic()
    x, t = ad.Tensor(x0, requires_grad=True), torch.tensor(x0, requires_grad=True)
    lone, other = ad.Tensor(2.0, requires_grad=True), torch.tensor(2.0, requires_grad=True)
    ours, theirs = getattr(optim, name)([x, lone], **options), getattr(torch.optim, name)([t, other], **options)
    for _ in range(50):
        ours.zero_grad(), theirs.zero_grad()
        (0.5 * (x @ a @ x) + lone**2 * x[0]).backward()
        (0.5 * (t @ torch.tensor(a) @ t) + other**2 * t[0]).backward()
        ours.step(), theirs.step()
        assert largest_error([x, lone], [t, other]) < 1e-9


def complex_problem(torch):
    """Two complex parameters, one of them a number, and a real one; and the loss of ours and of PyTorch's."""
    rng = np.random.default_rng(3)
    a, z = (rng.normal(size=shape) + 1j * rng.normal(size=shape) for shape in ((5, 5), 5))
    values = (z, np.array(0.5 - 1j), np.array(1.5))
    ours = [ad.Tensor(v, requires_grad=True) for v in values]
    theirs = [torch.tensor(v, requires_grad=True) for v in values]

    def loss(a, z, shift, scale):
        return 0.01 * (1 + scale**2) * ((abs(a @ z - shift) ** 2).sum() + (abs(z) ** 4).sum())

    return ours, theirs, lambda: loss(a, *ours), lambda: loss(torch.tensor(a), *theirs)


@pytest.mark.parametrize("name, options", CASES)
def test_complex_parameters_move_as_pytorchs_and_its_snapshots_go_on_here(torch, name, options):
    x, t, our_loss, their_loss = complex_problem(torch)
    ours, theirs = getattr(optim, name)(x, **options), getattr(torch.optim, name)(t, **options)
    for i in range(12):
        if i == 6:
            ours = getattr(optim, name)(x, **options)
            ours.load_state_dict(theirs.state_dict() | {"state": {
                k: {n: v.numpy() if hasattr(v, "numpy") else v for n, v in s.items()}
                for k, s in theirs.state_dict()["state"].items()}})  # fmt: skip
        ours.zero_grad(), theirs.zero_grad()
        our_loss().backward(), their_loss().backward()
        ours.step(), theirs.step()
        assert largest_error(x, t) < 1e-13
    again = getattr(optim, name)(x, **options)
    again.load_state_dict(copy.deepcopy(ours.state_dict()))
    for p, state in again.state.items():
        assert all(v.dtype == p.dtype for v in state.values() if isinstance(v, np.ndarray))


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "Adam", "Rprop"])
@pytest.mark.parametrize("compiled", [False, True])
def test_complex_parameters_of_any_layout_and_size_move_as_pytorchs(torch, name, compiled):
    rng = np.random.default_rng(4)
    values = [rng.normal(size=(200, 60)) + 1j, rng.normal(size=(2, 6)).T - 2j]  # more than one piece; not contiguous
    x, t = [ad.Tensor(v, requires_grad=True) for v in values], [torch.tensor(v, requires_grad=True) for v in values]
    x[1].data = np.asfortranarray(x[1].data)
    options = {"lr": 0.1, "momentum": 0.9} if name == "SGD" else {"lr": 0.1}
    ours, theirs = getattr(optim, name)(x, **options), getattr(torch.optim, name)(t, **options)
    loss = lambda params: sum((abs(p - (1 + 1j)) ** 2).mean() for p in params)

    def step():
        ours.zero_grad()
        y = loss(x)
        y.backward()
        ours.step()
        return y

    step = ad.compile(step, params=x, optimizer=ours) if compiled else step
    for _ in range(4):
        theirs.zero_grad(), loss(t).backward(), theirs.step()
        step()
    assert largest_error(x, t) < 1e-13


def test_lars_and_lamb_of_complex_parameters_are_those_of_their_two_parts():
    rng = np.random.default_rng(5)
    target = rng.normal(size=(4, 2))
    for name, options in OWN:
        pairs = ad.Tensor(rng.normal(size=(4, 2)), requires_grad=True)
        z = ad.Tensor(pairs.data[:, 0] + 1j * pairs.data[:, 1], requires_grad=True)
        a, b = getattr(optim, name)([pairs], **options), getattr(optim, name)([z], **options)
        for _ in range(3):
            a.zero_grad(), b.zero_grad()
            ((pairs - target) ** 2).sum().backward(), (abs(z - target @ [1, 1j]) ** 2).sum().backward()
            a.step(), b.step()
        np.testing.assert_allclose(np.stack([z.data.real, z.data.imag], -1), pairs.data, rtol=1e-13)


@pytest.mark.parametrize("options", [{"lr": 0.1, "max_iter": 5}, {"line_search_fn": "strong_wolfe", "max_iter": 5}])
def test_lbfgs_takes_pytorchs_steps_on_complex_parameters(torch, options):
    x, t, our_loss, their_loss = complex_problem(torch)
    ours, theirs = optim.LBFGS(x, **options), torch.optim.LBFGS(t, **options)

    def closure(optimizer, loss):
        optimizer.zero_grad()
        y = loss()
        y.backward()
        return y

    for i in range(4):
        if i == 2:
            ours, before = optim.LBFGS(x, **options), ours.state_dict()
            ours.load_state_dict(before)
        ours.step(lambda: closure(ours, our_loss)), theirs.step(lambda: closure(theirs, their_loss))
    assert largest_error(x, t) < 1e-9


@pytest.mark.parametrize("name, options", CASES)
def test_on_a_network_each_of_50_steps_is_pytorchs(torch, name, options):
    torch.manual_seed(0)
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    ours = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).astype("float64")
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(10, 4)), rng.integers(0, 3, 10)

    def groups(parameters):
        first, *rest = parameters
        return [{"params": [first]}, {"params": rest, "lr": 0.003}]

    a, b = (
        getattr(optim, name)(groups(ours.parameters()), **options),
        getattr(torch.optim, name)(groups(theirs.parameters()), **options),
    )
    # (Rprop goes by signs: as soon as a tanh is so far out that PyTorch's derivative is rounded to 0, it goes elsewhere.)
    for _ in range(12 if name == "Rprop" else 50):
        a.zero_grad(), b.zero_grad()
        nn.CrossEntropyLoss()(ours(x), y).backward()
        torch.nn.CrossEntropyLoss()(theirs(torch.tensor(x)), torch.tensor(y)).backward()
        a.step(), b.step()
    assert largest_error(ours.parameters(), list(theirs.parameters())) < 1e-9


@pytest.mark.parametrize("name, options", CASES)
def test_a_state_dict_of_pytorch_goes_on_here(torch, name, options):
    a, x0 = quadratic()
    x, t = ad.Tensor(x0, requires_grad=True), torch.tensor(x0, requires_grad=True)
    ours, theirs = getattr(optim, name)([x], **options), getattr(torch.optim, name)([t], **options)
    for i in range(20):
        if i == 10:
            x.data = t.detach().numpy().copy()
            state = theirs.state_dict()
            state["state"] = {k: {n: v.numpy() if hasattr(v, "numpy") else v for n, v in s.items()}
                              for k, s in state["state"].items()}  # fmt: skip
            ours.load_state_dict(state)
        theirs.zero_grad()
        (0.5 * (t @ torch.tensor(a) @ t)).backward()
        theirs.step()
        if i >= 10:
            ours.zero_grad()
            (0.5 * (x @ a @ x)).backward()
            ours.step()
    assert largest_error([x], [t]) < 1e-9


def given(params, rng, skip=()):
    """Random gradients, of this library's Tensors and PyTorch's alike."""
    for i, pair in enumerate(zip(*params)):
        g = np.asarray(rng.normal(size=pair[0].shape))
        for p in pair:
            kind = ad.Tensor if isinstance(p, ad.Tensor) else type(p.data)
            wrap = (
                (lambda g: ad.Tensor(g.astype(p.dtype))) if kind is ad.Tensor else pytest.importorskip("torch").tensor
            )
            p.grad = None if i in skip else wrap(g.copy())


SHAPES = [(3,), (2, 3), (), (0,), (0, 3), (1,)]


def both(torch, shapes=SHAPES, seed=0):
    rng = np.random.default_rng(seed)
    values = [np.asarray(rng.normal(size=s)) for s in shapes]
    ours, theirs = ([make(v.copy(), requires_grad=True) for v in values] for make in (ad.Tensor, torch.tensor))
    return ours, theirs, rng


@pytest.mark.parametrize("name", OPTIONS)
def test_whatever_happens_between_steps_they_are_pytorchs(torch, name):
    """A parameter without a gradient now and then, new rates, a group that is added, a parameter frozen for a while,
    other values."""
    a, b, rng = both(torch)
    ours, theirs = ([make([{"params": p[:2], "lr": 0.01}, {"params": p[2:4]}]) for make, p in
                    ((getattr(optim, name), a), (getattr(torch.optim, name), b))])  # fmt: skip
    for i in range(30):
        given([a, b], rng, skip=(i % 3, i % 7) if i % 2 else (1,) if 8 < i < 12 else ())
        if i == 5:
            ours.add_param_group({"params": a[4:], "lr": 0.3}), theirs.add_param_group({"params": b[4:], "lr": 0.3})
        if i == 15:
            ours.param_groups[0]["lr"] = theirs.param_groups[0]["lr"] = 0.2
        if i == 20:
            a[1].data = np.ones((2, 3))
            b[1].data.fill_(1.0)
        if i % 10 == 9:
            ours.zero_grad(set_to_none=False), theirs.zero_grad(set_to_none=False)
        ours.step(), theirs.step()
        assert largest_error(a[:3] + a[5:], b[:3] + b[5:]) < 1e-12


def test_a_momentum_that_is_switched_on_off_and_on_again_is_pytorchs(torch):
    a, b, rng = both(torch)
    ours, theirs = optim.SGD(a, 0.01), torch.optim.SGD(b, 0.01)
    for momentum in [0, 0, 0.5, 0.9, 0.9, 0, 0, 0.3, 0.3, 0, 0.2]:
        ours.param_groups[0]["momentum"] = theirs.param_groups[0]["momentum"] = momentum
        given([a, b], rng)
        ours.step(), theirs.step()
        assert largest_error(a[:3], b[:3]) < 1e-12


@pytest.mark.parametrize("name, options", CASES)
def test_state_dicts_of_any_shape_go_on_here_and_in_pytorch(torch, name, options):
    a, b, rng = both(torch)
    theirs = getattr(torch.optim, name)(b, **options)
    for _ in range(4):
        given([a, b], rng)
        theirs.step()
    for p, q in zip(a, b):
        p.data = q.detach().numpy().copy()
    ours = getattr(optim, name)(a, **options)
    ours.load_state_dict(theirs.state_dict())
    for i in range(8):
        if i == 4:  # and back
            state = ours.state_dict()
            state["state"] = {
                i: {k: v if isinstance(v, bool) else torch.as_tensor(np.array(v)) for k, v in s.items()}
                for i, s in state["state"].items()
            }
            theirs = getattr(torch.optim, name)(b, **options)
            theirs.load_state_dict({**state, "param_groups": [{**theirs.defaults, **g} for g in state["param_groups"]]})
        given([a, b], rng)
        ours.step(), theirs.step()
        assert largest_error(a[:3], b[:3]) < 1e-12


@pytest.mark.parametrize("suffix", [".json", ".npz", ".safetensors", ".pickle"])
@pytest.mark.parametrize("name, options", [*CASES, *OWN])
def test_a_snapshot_continues_to_the_bit_through_files(name, options, suffix, tmp_path):
    rng = np.random.default_rng(4)
    a = [ad.Tensor(np.asarray(rng.normal(size=s)), requires_grad=True) for s in SHAPES]
    first = getattr(optim, name)(a, **options)
    for _ in range(3):
        given([a], rng)
        first.step()
    saved, file = first.state_dict(), tmp_path / f"state{suffix}"
    if suffix == ".json":
        loaded = json.loads(json.dumps(saved, default=lambda v: v.tolist()))
    elif suffix == ".pickle":
        loaded = pickle.loads(pickle.dumps(saved))
    else:
        flat = {f"{i}/{key}": np.asarray(v) for i, s in saved["state"].items() for key, v in s.items()}
        ad.save(flat, file)
        loaded = {**saved, "state": {}}
        for key, value in ad.load(file).items():
            loaded["state"].setdefault(key.split("/")[0], {})[key.split("/")[1]] = value
    b = [ad.Tensor(p.data.copy(), requires_grad=True) for p in a]
    second = getattr(optim, name)(b, **options)
    second.load_state_dict(loaded)
    for _ in range(3):
        given([a, b], rng)
        first.step(), second.step()
    for p, q in zip(a, b):
        np.testing.assert_array_equal(p.data, q.data)


@pytest.mark.parametrize("name, options", [*CASES, *OWN])
def test_state_follows_a_parameter_to_another_dtype_and_refuses_another_shape(name, options):
    model, rng = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)), np.random.default_rng(5)
    optimizer = getattr(optim, name)(model.parameters(), **options)
    given([list(model.parameters())], rng)
    optimizer.step()
    model.astype("float64")
    given([list(model.parameters())], rng)
    optimizer.step()
    arrays = [v for s in optimizer.state.values() for v in s.values() if isinstance(v, np.ndarray)]
    assert {x.dtype for x in (*arrays, *(p.data for p in model.parameters()))} == {np.dtype("float64")}
    if arrays:
        model[0].bias.data = np.ones(5)
        given([list(model.parameters())], rng)
        with pytest.raises(ValueError, match=rf"{name}.step.*shape \(5,\) now.*\(2,\)"):
            optimizer.step()


def test_parameters_may_have_names_as_in_pytorch(torch):
    model, other = nn.Linear(3, 2), torch.nn.Linear(3, 2)
    ours, theirs = optim.SGD(model.named_parameters(), 0.1), torch.optim.SGD(other.named_parameters(), 0.1)
    assert ours.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    assert theirs.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    ours.load_state_dict(theirs.state_dict())
    with pytest.raises(ValueError, match=r"parameter 1 .'again'. .*twice"):
        optim.SGD([("w", model.weight), ("again", model.weight)])


def test_frozen_parameters_wait_until_they_are_thawed(torch):
    a, b, _ = both(torch, [(3,), (2,)])
    a[0].requires_grad = b[0].requires_grad = False
    ours, theirs = optim.Adam(a), torch.optim.Adam(b)
    for i in range(8):
        if i == 3:
            a[0].requires_grad = b[0].requires_grad = True
        if i == 6:
            a[1].requires_grad = b[1].requires_grad = False
        ours.zero_grad(), theirs.zero_grad()
        sum((p**2).sum() for p in a).backward(), sum((p**2).sum() for p in b).backward()
        ours.step(), theirs.step()
        assert largest_error(a, b) < 1e-12


def test_the_repr_is_one_line_of_hyper_parameters_for_each_group():
    w, v = (ad.Tensor(np.ones(2), requires_grad=True) for _ in range(2))
    groups = [{"params": [w], "name": "first"}, {"params": [v], "lr": np.float32(0.1), "amsgrad": True}]
    assert repr(optim.Adam(groups, betas=[0.9, 0.99])) == (
        "Adam(\n"
        "  group 0 'first': 1 parameter, lr=0.001, betas=(0.9, 0.99), eps=1e-08, weight_decay=0\n"
        "  group 1: 1 parameter, lr=0.1, betas=(0.9, 0.99), eps=1e-08, weight_decay=0, amsgrad=True\n"
        ")"
    )


@pytest.mark.parametrize("name, options", [*CASES, *OWN])
def test_small_large_strided_and_late_parameters_are_updated_as_one_by_one(name, options):
    """The engine gathers small parameters and cuts large ones: what comes out is what single ones give."""
    rng = np.random.default_rng(2)
    shapes = [(3,), (), (70, 600), (0, 4), (90, 100), (5, 7), (33_000,), (1,)]
    values = [rng.normal(size=s) for s in shapes]
    values[2] = np.asfortranarray(values[2])
    values[4] = np.asfortranarray(values[4])
    together = [ad.Tensor(v, requires_grad=True) for v in values]
    for p, v in zip(together, values):
        p.data = v.copy(order="K")
    apart = [ad.Tensor(v, requires_grad=True) for v in values]
    one = getattr(optim, name)(together, **options)
    many = [getattr(optim, name)([p], **options) for p in apart]
    for i in range(6):
        for j, (p, q) in enumerate(zip(together, apart)):
            g = rng.normal(size=p.shape)
            p.grad = q.grad = None
            if (i + j) % 4 or i > 3:  # some have no gradient at some steps: they are skipped
                p.grad, q.grad = ad.Tensor(np.asfortranarray(g) if g.ndim else g), ad.Tensor(g)
        one.step()
        for optimizer in many:
            optimizer.step()
    for p, q in zip(together, apart):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-12, atol=1e-14)
    assert together[2].data.flags.f_contiguous


@pytest.mark.parametrize("name, options", [*CASES, *OWN])
def test_a_snapshot_continues_to_the_bit_also_through_json(name, options):
    rng = np.random.default_rng(3)
    gradients = rng.normal(size=(12, 40))

    def run(stop):
        params = [ad.Tensor(np.linspace(-1, 1, 30), requires_grad=True), ad.Tensor(np.ones((5, 2)), requires_grad=True)]
        optimizer = getattr(optim, name)(params, **options)
        for i, g in enumerate(gradients):
            if i == stop:
                values = [p.data.copy() for p in params]
                state = optimizer.state_dict()
                text = json.dumps(state, default=lambda a: a.tolist())
                assert json.loads(text)
                params = [ad.Tensor(v, requires_grad=True) for v in values]
                optimizer = getattr(optim, name)(params, **options)
                optimizer.load_state_dict(copy.deepcopy(state) if stop % 2 else json.loads(text))
            params[0].grad, params[1].grad = ad.Tensor(g[:30]), ad.Tensor(g[30:].reshape(5, 2))
            optimizer.step()
        return np.concatenate([p.data.ravel() for p in params])

    whole = run(-1)
    for stop in (5, 6):
        np.testing.assert_array_equal(run(stop), whole)


@pytest.mark.parametrize("name, options", [*CASES, *OWN])
def test_an_optimiser_with_its_parameters_can_be_copied_and_pickled(name, options):
    w = ad.Tensor([1.0, 2.0], requires_grad=True)
    optimizer = getattr(optim, name)([w], **options)
    w.grad = ad.Tensor([0.5, -0.5])
    optimizer.step()
    for make in (copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))):
        other = make(optimizer)
        (p,) = other.param_groups[0]["params"]
        p.grad = ad.Tensor([0.5, -0.5])
        other.step()
        expected = copy.deepcopy(optimizer)
        (q,) = expected.param_groups[0]["params"]
        q.grad = ad.Tensor([0.5, -0.5])
        expected.step()
        np.testing.assert_array_equal(p.data, q.data)
        assert w.data.tolist() != p.data.tolist()


@pytest.mark.parametrize("name, options", [*CASES, *OWN])
def test_single_precision_stays_single_precision(name, options):
    w = ad.Tensor(np.ones((4, 3), "float32"), requires_grad=True)
    optimizer = getattr(optim, name)([w], **options)
    for _ in range(3):
        w.grad = ad.Tensor(np.full((4, 3), 0.1, "float32"))
        optimizer.step()
    assert w.dtype == np.float32
    assert all(v.dtype == np.float32 for s in optimizer.state.values() for v in s.values() if isinstance(v, np.ndarray))


def steps(optimizer, w, gradients):
    for g in gradients:
        w.grad = ad.Tensor(np.asarray(g, float))
        optimizer.step()
    return w.data


def test_lamb_is_the_papers_formula():
    w = ad.Tensor([3.0, -4.0], requires_grad=True)
    x, m, v = w.data.copy(), 0.0, 0.0
    optimizer = optim.LAMB([w], lr=0.1, betas=(0.8, 0.9), weight_decay=0.3)
    for t, g in enumerate(np.random.default_rng(0).normal(size=(20, 2)), 1):
        steps(optimizer, w, [g])
        m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g**2
        r = (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.9**t)) + 1e-6) + 0.3 * x
        x = x - 0.1 * np.linalg.norm(x) / np.linalg.norm(r) * r
        np.testing.assert_allclose(w.data, x, rtol=1e-11)


def test_lars_is_the_papers_formula():
    w = ad.Tensor([3.0, -4.0], requires_grad=True)
    x, b = w.data.copy(), 0.0
    optimizer = optim.LARS([w], lr=0.5, momentum=0.9, weight_decay=0.3, trust_coefficient=0.02)
    for g in np.random.default_rng(0).normal(size=(20, 2)):
        steps(optimizer, w, [g])
        ratio = 0.02 * np.linalg.norm(x) / (np.linalg.norm(g) + 0.3 * np.linalg.norm(x))
        b = 0.9 * b + ratio * (g + 0.3 * x)
        x = x - 0.5 * b
        np.testing.assert_allclose(w.data, x, rtol=1e-12)


def test_lion_is_the_papers_formula():
    w = ad.Tensor([3.0, -4.0], requires_grad=True)
    x, m = w.data.copy(), np.zeros(2)
    optimizer = optim.Lion([w], lr=0.1, weight_decay=0.3)
    for g in np.random.default_rng(0).normal(size=(20, 2)):
        steps(optimizer, w, [g])
        x = x - 0.1 * (np.sign(0.9 * m + 0.1 * g) + 0.3 * x)
        m = 0.99 * m + 0.01 * g
        np.testing.assert_allclose(w.data, x, rtol=1e-12)


@pytest.mark.parametrize("make", [
    lambda w: optim.LAMB([w], lr=0.5), lambda w: optim.LARS([w], lr=0.5),
])  # fmt: skip
def test_a_trust_ratio_is_1_where_a_norm_is_0(make):
    w = ad.Tensor(np.zeros(2), requires_grad=True)
    steps(make(w), w, [[1.0, 1.0]])
    np.testing.assert_allclose(w.data, [-0.5, -0.5], rtol=1e-5)
    w = ad.Tensor([1.0, 2.0], requires_grad=True)
    np.testing.assert_array_equal(steps(make(w), w, [[0.0, 0.0]]), [1.0, 2.0])


@pytest.mark.parametrize("make, expected", [
    (lambda w: optim.SGD([w], lr=0.1, momentum=0.9, averaged=True), lambda g, n: 0.1 * g * sum(1 - 0.9 ** k for k in range(1, n + 1))),
    (lambda w: optim.Adam([w], lr=0.1, betas=(0.9, 0.99), bias_correction=False, eps=0),
     lambda g, n: 0.1 * sum((1 - 0.9**k) / np.sqrt(1 - 0.99**k) for k in range(1, n + 1))),
    (lambda w: optim.Adam([w], lr=0.1, eps=1e-2, eps_inside_sqrt=True), lambda g, n: n * 0.1 * g / np.sqrt(g * g + 1e-2)),
    (lambda w: optim.Adagrad([w], lr=0.1, eps=1e-2, eps_inside_sqrt=True),
     lambda g, n: 0.1 * sum(g / np.sqrt(k * g * g + 1e-2) for k in range(1, n + 1))),
    (lambda w: optim.RMSprop([w], lr=0.1, alpha=0.9, eps=1e-2, eps_inside_sqrt=True),
     lambda g, n: 0.1 * sum(g / np.sqrt((1 - 0.9**k) * g * g + 1e-2) for k in range(1, n + 1))),
])  # fmt: skip
def test_the_documents_forms_under_a_constant_gradient(make, expected):
    w = ad.Tensor(1.0, requires_grad=True)
    np.testing.assert_allclose(1 - steps(make(w), w, [0.3] * 7), expected(0.3, 7), rtol=1e-12)


def test_a_velocity_that_holds_the_learning_rate_keeps_the_old_one():
    paths = []
    for inside in (False, True):
        w = ad.Tensor(1.0, requires_grad=True)
        optimizer = optim.SGD([w], lr=0.1, momentum=0.5, lr_in_velocity=inside)
        path = [float(steps(optimizer, w, [1.0])) for _ in range(3)]
        optimizer.param_groups[0]["lr"] = 0.01
        paths.append([*path, float(steps(optimizer, w, [1.0]))])
    assert paths[0][:3] == pytest.approx(paths[1][:3])
    assert paths[0][3] == pytest.approx(paths[0][2] - 0.01 * (1 + 0.5 * 1.75))
    assert paths[1][3] == pytest.approx(paths[1][2] - (0.01 + 0.1 * 0.5 * 1.75))


# L-BFGS


def rosenbrock(x):
    return sum(100 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2 for i in range(len(x) - 1))


@pytest.mark.parametrize("start", [[-1.2, 1.0], [3.0, -2.0], [-1.2, 1.0, 0.5, -0.3]])
@pytest.mark.parametrize("options", [
    {"line_search_fn": "strong_wolfe"}, {"line_search_fn": "strong_wolfe", "history_size": 3, "lr": 0.5},
    {"line_search_fn": "strong_wolfe", "max_iter": 3, "tolerance_change": 1e-12}, {"lr": 1e-3, "history_size": 3},
])  # fmt: skip
def test_lbfgs_takes_pytorchs_steps_on_rosenbrock(torch, start, options):
    x, t = ad.Tensor(start, requires_grad=True), torch.tensor(start, requires_grad=True)
    ours, theirs, calls = optim.LBFGS([x], **options), torch.optim.LBFGS([t], **options), [0, 0]

    def closure(i, optimizer, variable):
        def run():
            calls[i] += 1
            optimizer.zero_grad()
            loss = rosenbrock(variable)
            loss.backward()
            return loss

        return run

    for _ in range(8):
        a, b = ours.step(closure(0, ours, x)), theirs.step(closure(1, theirs, t))
        assert float(a) == pytest.approx(b.item(), rel=1e-8, abs=1e-9)
        assert largest_error([x], [t]) < 1e-9 and calls[0] == calls[1]


def test_lbfgs_finds_the_minimum_of_rosenbrock_in_many_dimensions_and_over_several_parameters():
    parts = [ad.Tensor(np.full(n, -1.0), requires_grad=True) for n in (3, 1, 6)]
    optimizer = optim.LBFGS(
        parts, max_iter=400, tolerance_grad=1e-10, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        x = ad.concatenate(parts)
        loss = (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    gradient = np.concatenate([p.grad.data for p in parts])
    assert np.abs(gradient).max() < 1e-8


@pytest.mark.parametrize("options", [
    {"lr": 0.1, "max_iter": 3}, {"max_iter": 4, "history_size": 1},
    {"max_iter": 2, "line_search_fn": "strong_wolfe"}, {"max_eval": 3, "line_search_fn": "strong_wolfe"},
])  # fmt: skip
@pytest.mark.parametrize("frozen", [None, 2])
def test_lbfgs_takes_pytorchs_steps_over_many_calls(torch, options, frozen):
    """So many that there are more changes than half of the history, which keeps them all."""
    a, b, _ = both(torch, [(3,), (2, 2), ()])
    ours, theirs = optim.LBFGS(a, **options), torch.optim.LBFGS(b, **options)

    def closure(optimizer, params):
        def evaluate():
            optimizer.zero_grad()
            loss = params[0].sum() * params[1].sum()
            for i, p in enumerate(params, 1):
                loss = loss + (i * p * p + 0.1 * p**4 + 0.5 * p).sum()
            loss.backward()
            return loss

        return evaluate

    for i in range(30):
        if i == frozen:
            a[1].requires_grad = b[1].requires_grad = False
        x, y = ours.step(closure(ours, a)), theirs.step(closure(theirs, b))
        assert x.item() == pytest.approx(y.item(), abs=1e-9)
        assert largest_error(a, b) < 1e-9


def test_a_snapshot_of_lbfgs_goes_on_from_pytorch_and_through_json(torch):
    def closure(optimizer, x):
        def evaluate():
            optimizer.zero_grad()
            loss = 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
            loss.backward()
            return loss

        return evaluate

    t = torch.tensor([-1.2, 1.0], requires_grad=True)
    theirs = torch.optim.LBFGS([t], max_iter=3)
    theirs.step(closure(theirs, t))
    x = ad.Tensor(t.detach().numpy().copy(), requires_grad=True)
    ours = optim.LBFGS([x])
    ours.load_state_dict(theirs.state_dict())
    for _ in range(4):
        theirs.step(closure(theirs, t)), ours.step(closure(ours, x))
        assert largest_error([x], [t]) < 1e-9
        state = json.loads(json.dumps(ours.state_dict(), default=lambda v: v.tolist()))
        ours = optim.LBFGS([x])
        ours.load_state_dict(state)
    with pytest.raises(TypeError, match="must return the loss"):
        ours.step(lambda: None)


def test_a_snapshot_of_lbfgs_continues_to_the_bit():
    def run(stop):
        x = ad.Tensor([-1.2, 1.0], requires_grad=True)
        make = lambda x: optim.LBFGS([x], max_iter=4, line_search_fn="strong_wolfe")
        optimizer = make(x)
        for i in range(6):
            if i == stop:
                state, x = optimizer.state_dict(), ad.Tensor(x.data, requires_grad=True)
                optimizer = make(x)
                optimizer.load_state_dict(state)

            def closure():
                optimizer.zero_grad()
                loss = rosenbrock(x)
                loss.backward()
                return loss

            optimizer.step(closure)
        return x.data

    np.testing.assert_array_equal(run(3), run(-1))


def test_bad_use_of_lbfgs_is_refused():
    x, y = ad.Tensor([1.0], requires_grad=True), ad.Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(TypeError, match="closure"):
        optim.LBFGS([x]).step()
    with pytest.raises(ValueError, match="one parameter group"):
        optim.LBFGS([{"params": [x]}, {"params": [y]}])
    with pytest.raises(ValueError, match="strong_wolfe"):
        optim.LBFGS([x], line_search_fn="armijo")
    other = optim.LBFGS([y])
    other.step(lambda: ((y**2).sum(), y.zero_grad())[0].backward() or (y**2).sum())
    with pytest.raises(ValueError, match="1 entries"):
        optim.LBFGS([x]).load_state_dict(other.state_dict())


# Bad input

BAD = [
    ("SGD", {"lr": -1.0}, "lr"), ("SGD", {"lr": float("nan")}, "lr"), ("SGD", {"momentum": -0.1}, "momentum"),
    ("SGD", {"nesterov": True}, "nesterov"), ("SGD", {"averaged": True, "dampening": 0.1, "momentum": 0.5}, "averaged"),
    ("Adagrad", {"eps": -1}, "eps"), ("Adagrad", {"lr_decay": -1}, "lr_decay"), ("Adadelta", {"rho": 1.1}, "rho"),
    ("RMSprop", {"alpha": -0.1}, "alpha"), ("RMSprop", {"momentum": float("inf")}, "momentum"),
    ("Adam", {"betas": (1.0, 0.9)}, "betas"), ("AdamW", {"weight_decay": -1}, "weight_decay"),
    ("Adamax", {"betas": (0.9, -0.1)}, "betas"), ("NAdam", {"momentum_decay": -1}, "momentum_decay"),
    ("RAdam", {"lr": float("inf")}, "lr"), ("Rprop", {"etas": (1.5, 1.2)}, "etas"), ("Rprop", {"etas": 3}, "etas"),
    ("Rprop", {"step_sizes": (2, 1)}, "step_sizes"), ("LAMB", {"eps": -1}, "eps"),
    ("LARS", {"trust_coefficient": -1}, "trust_coefficient"), ("Lion", {"betas": (0.9,)}, "betas"),
    ("LBFGS", {"max_iter": 0}, "max_iter"), ("LBFGS", {"history_size": 0}, "history_size"),
]  # fmt: skip


@pytest.mark.parametrize("name, options, word", BAD)
def test_hyper_parameters_out_of_range_are_refused_by_name(name, options, word):
    w = ad.Tensor([1.0], requires_grad=True)
    with pytest.raises((ValueError, TypeError), match=rf"{name}.*{word}"):
        getattr(optim, name)([w], **options)


EVERY = [c for c in vars(optim).values() if inspect.isclass(c) and issubclass(c, optim.Optimizer)]


@pytest.mark.parametrize("cls", [c for c in EVERY if c is not optim.Optimizer])
def test_the_hyper_parameters_of_an_optimiser_are_those_of_its_signature(cls):
    defaults = cls([ad.Tensor([1.0], requires_grad=True)]).defaults
    said = {
        key: p.default
        for key, p in inspect.signature(cls).parameters.items()
        if key not in ("params", "rng", "preconditioner")
    }
    for key in ("foreach", "fused", "capturable", "differentiable"):  # PyTorch's, of which only "off" is taken
        assert said.pop(key) is None
    if cls in (optim.AdamW, optim.LAMB):
        assert defaults.pop("decoupled_weight_decay") is (cls is optim.AdamW)  # Adam's, which they do not offer
    if cls is optim.LBFGS:
        said["max_eval"] = 25  # 1.25 max_iter, where it is None
    if cls is optim.LAMB:
        assert defaults.pop("amsgrad") is False  # Adam's, which LAMB does not offer
    assert list(defaults.items()) == list(said.items())
    assert set(cls.limits) <= set(said)


class Signed(optim.Optimizer):
    """w ← w − η sign(g), as somebody outside writes it: a dict of defaults, limits checked by hand."""

    def __init__(self, params, lr=0.5):
        super().__init__(params, {"lr": lr})

    def check(self, options):
        if not options["lr"] > 0:
            raise ValueError("Signed: lr")

    def buffers(self, options):
        return ("count",)

    def advance(self, numbers, options):
        return options["lr"]

    def update(self, w, g, state, coefficients):
        state["count"] += 1
        w -= coefficients * np.sign(g)


class Halved(optim.SGD):
    """A rate halved, of an optimiser that is there."""

    def __init__(self, params, lr=1.0):
        super().__init__(params, lr / 2)


def test_an_optimiser_of_one_s_own_needs_its_rule_only():
    w = ad.Tensor([3.0, -3.0], requires_grad=True)
    optimizer = Signed([w])
    for _ in range(2):
        steps(optimizer, w, [[1.0, -2.0]])
    assert w.data.tolist() == [2.0, -2.0]
    assert optimizer.state_dict() == {
        "state": {0: {"count": pytest.approx([2.0, 2.0])}}, "param_groups": [{"lr": 0.5, "params": [0]}]
    }  # fmt: skip
    with pytest.raises(ValueError, match="Signed: lr"):
        Signed([w], lr=0)
    assert Halved([w]).defaults["lr"] == 0.5
    with pytest.raises(ValueError, match="Halved: lr must be a finite number of at least 0"):
        Halved([w], lr=-1)
    (twin,) = pickle.loads(pickle.dumps(optimizer)).param_groups[0]["params"]
    assert twin.data.tolist() == w.data.tolist()


@pytest.mark.parametrize("name", [*OPTIONS, "LAMB", "LARS", "Lion", "LBFGS"])
def test_parameters_that_cannot_be_trained_are_refused(name):
    make, w = getattr(optim, name), ad.Tensor([1.0], requires_grad=True)
    with pytest.raises(ValueError, match="empty"):
        make([])
    with pytest.raises(ValueError, match="twice"):
        make([w, w])
    with pytest.raises(ValueError, match="gradient"):
        make([ad.Tensor([1.0])])
    with pytest.raises(TypeError):
        make(w)


def test_state_of_another_shape_or_optimiser_is_refused_and_nothing_changes():
    w, v = ad.Tensor([1.0], requires_grad=True), ad.Tensor([1.0, 2.0], requires_grad=True)
    adam = optim.Adam([v])
    steps(adam, v, [[1.0, 1.0]])
    for make in (optim.Adam, optim.SGD):
        optimizer = make([w])
        before = optimizer.state_dict()
        with pytest.raises(ValueError, match=make.__name__):
            optimizer.load_state_dict(adam.state_dict())
        assert optimizer.state_dict() == before


# The documents' numbers


def path(make, start, gradients):
    """The parameters after each step with a given gradient (or function of the parameters)."""
    w = ad.Tensor(np.asarray(start, float), requires_grad=True)
    optimizer = make([w])
    return [steps(optimizer, w, [g(w.data) if callable(g) else g]).tolist() for g in gradients]


def test_the_documents_trajectories():
    entry = ENTRIES["optimiser-trajectories"]
    given, expected = entry["inputs"], entry["expected"]["w_after_each_step"]
    lr = given["lr"]
    found = {
        "sgd": lambda p: optim.SGD(p, lr),
        "momentum_ema_0.9 (003, 004)": lambda p: optim.SGD(p, lr, 0.9, averaged=True),
        "momentum_0.9 (PyTorch default)": lambda p: optim.SGD(p, lr, 0.9),
        "momentum_0.9_eta_inside (002)": lambda p: optim.SGD(p, lr, 0.9, lr_in_velocity=True),
        "momentum_0.9_dampening_0.9 (PyTorch)": lambda p: optim.SGD(p, lr, 0.9, 0.9),
        "nesterov_0.9 (PyTorch)": lambda p: optim.SGD(p, lr, 0.9, nesterov=True),
        "lamb_eps_1e-06_outside_root_wd_0.01 (paper)": lambda p: optim.LAMB(p, lr, weight_decay=0.01),
        "adam_coupled_l2_0.01_eps_1e-08 (PyTorch)": lambda p: optim.Adam(p, lr, weight_decay=0.01),
        "amsgrad_eps_1e-08 (PyTorch)": lambda p: optim.Adam(p, lr, amsgrad=True),
        "nadam_eps_1e-08 (PyTorch)": lambda p: optim.NAdam(p, lr),
        "adadelta_rho_0.9_eps_1e-06_lr_1 (PyTorch)": lambda p: optim.Adadelta(p),
    }
    for text in ("1e-08", "0.01"):
        for inside, where in ((True, "inside_root (seed)"), (False, "outside_root (PyTorch)")):
            o = {"eps": float(text), "eps_inside_sqrt": inside}
            found |= {
                f"adagrad_eps_{text}_{where}": lambda p, o=o: optim.Adagrad(p, lr, **o),
                f"rmsprop_0.9_eps_{text}_{where}": lambda p, o=o: optim.RMSprop(p, lr, 0.9, **o),
                f"adam_eps_{text}_{where}": lambda p, o=o: optim.Adam(p, lr, **o),
                f"adamw_wd_0.01_eps_{text}_{where}": lambda p, o=o: optim.AdamW(p, lr, weight_decay=0.01, **o),
                f"lamb_eps_{text}_{where.replace(' (PyTorch)', '')}": lambda p, o=o: optim.LAMB(p, lr, **o),
            }
        found[f"adam_no_bias_correction_eps_{text}_inside_root (000)"] = lambda p, e=float(text): optim.Adam(
            p, lr, eps=e, bias_correction=False, eps_inside_sqrt=True
        )
    assert set(found) == set(expected)
    for name, make in found.items():
        np.testing.assert_allclose(
            path(make, given["w0"], given["gradients"]), expected[name], rtol=1e-10, err_msg=name
        )


def test_the_documents_runs_on_a_quadratic_surface():
    entry = ENTRIES["optimisers-on-quadratic-surface"]
    (start, lr), expected = (entry["inputs"][k] for k in ("start", "lr")), entry["expected"]
    found = {
        "momentum_0.9_eta_inside_velocity": lambda p: optim.SGD(p, lr, 0.9, lr_in_velocity=True),
        "rmsprop_0.9_eps_inside_root (notes)": lambda p: optim.RMSprop(p, lr, 0.9, eps_inside_sqrt=True),
        "rmsprop_0.9_eps_outside_root (PyTorch)": lambda p: optim.RMSprop(p, lr, 0.9),
        "adam_eps_inside_root (notes)": lambda p: optim.Adam(p, lr, eps_inside_sqrt=True),
        "adam_eps_outside_root (PyTorch)": lambda p: optim.Adam(p, lr),
    }
    assert set(found) == set(expected["iterates"])
    surface = lambda w: np.array([2 * (w[0] - 2), 4 * (w[1] + 1)])  # the gradient of (w₁ − 2)² + 2 (w₂ + 1)²
    for name, make in found.items():
        np.testing.assert_allclose(
            path(make, start, [surface] * 3), expected["iterates"][name], rtol=1e-10, err_msg=name
        )
    tiny = entry["inputs"]["tiny_gradient"]
    for name, inside in (("eps_inside_root", True), ("eps_outside_root", False)):
        w = path(lambda p: optim.Adam(p, tiny["lr"], eps_inside_sqrt=inside), 0.0, [tiny["g"]])
        assert -w[0] == pytest.approx(expected["first_adam_step_for_tiny_gradient"][name], rel=1e-10)


def test_the_documents_step_sizes_under_a_constant_gradient():
    def sizes(make, t):
        w = np.array([0.0, *path(make, 0.0, [1.0] * max(t))])
        return -np.diff(w)[np.array(t) - 1], w

    entry = ENTRIES["adagrad-constant-gradient"]
    t, expected = entry["inputs"]["t"], entry["expected"]
    for key, inside in (("step_eps_inside_root (seed)", True), ("step_eps_outside_root (PyTorch)", False)):
        found, w = sizes(lambda p: optim.Adagrad(p, 1.0, eps=1e-8, eps_inside_sqrt=inside), t)
        np.testing.assert_allclose(found, expected[key], rtol=1e-9)
    np.testing.assert_allclose(w[t], expected["displacement_after_t_eps_outside"], rtol=1e-10)
    entry = ENTRIES["rmsprop-constant-gradient"]
    t, expected = entry["inputs"]["t"], entry["expected"]
    for key, inside in (("step_eps_inside_root (seed)", True), ("step_eps_outside_root (PyTorch)", False)):
        found, _ = sizes(lambda p: optim.RMSprop(p, 1.0, 0.9, eps_inside_sqrt=inside), t)
        np.testing.assert_allclose(found, expected[key], rtol=1e-10)
    entry = ENTRIES["adam-constant-gradient"]
    t, expected = entry["inputs"]["t"], entry["expected"]
    forms = {
        "update_without_bias_correction (seed)": dict(bias_correction=False, eps_inside_sqrt=True),
        "update_with_bias_correction_eps_outside (PyTorch)": {},
        "update_with_bias_correction_eps_inside": dict(eps_inside_sqrt=True),
    }
    for key, options in forms.items():
        found, w = sizes(lambda p: optim.Adam(p, 1.0, **options), t)
        np.testing.assert_allclose(found, expected[key], rtol=1e-9)
        if not options.get("bias_correction", True):
            assert np.max(-np.diff(w)) == pytest.approx(expected["largest_update_without_bias_correction"], rel=1e-9)
            assert np.argmax(-np.diff(w)) + 1 == expected["reached_at_t"]
    entry = ENTRIES["adaptive-step-sizes-at-300"]
    expected = entry["expected"]
    assert sizes(lambda p: optim.Adagrad(p, 1.0, eps=1e-8), [300])[0][0] == pytest.approx(expected["adagrad"], rel=1e-6)
    found = sizes(lambda p: optim.RMSprop(p, 1.0, 0.9, eps_inside_sqrt=True), [300])[0][0]
    assert found == pytest.approx(expected["rmsprop"], rel=1e-10)
    found = sizes(lambda p: optim.Adam(p, 1.0, bias_correction=False, eps_inside_sqrt=True), [300])[0][0]
    assert found == pytest.approx(expected["adam_without_bias_correction_plotted"], rel=1e-10)
