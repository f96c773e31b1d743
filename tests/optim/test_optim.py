"""Optimisers against PyTorch, step for step, and what bad input gets."""

import copy
import json
import pickle

import numpy as np
import pytest

import autodiff as ad
import nn
import optim

SGD_OPTIONS = [
    {},
    {"lr": 0.05},
    {"lr": 0.05, "momentum": 0.9},
    {"lr": 0.05, "momentum": 0.9, "dampening": 0.3},
    {"lr": 0.05, "momentum": 0.9, "nesterov": True},
    {"lr": 0.05, "weight_decay": 0.1},
    {"lr": 0.05, "momentum": 0.8, "weight_decay": 0.1, "nesterov": True},
    {"lr": 0.002, "momentum": 0.5, "weight_decay": 0.1, "maximize": True},
]
ADAM_OPTIONS = [
    {},
    {"lr": 0.05},
    {"lr": 0.05, "betas": (0.5, 0.8), "eps": 1e-3},
    {"lr": 0.05, "weight_decay": 0.1},
    {"lr": 0.05, "amsgrad": True},
    {"lr": 0.05, "amsgrad": True, "weight_decay": 0.1, "maximize": True},
    {"lr": 0.05, "betas": (0.0, 0.0)},
]
CASES = [("SGD", o) for o in SGD_OPTIONS] + [("Adam", o) for o in ADAM_OPTIONS]


def problem():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(4, 4))
    return a @ a.T + np.eye(4), rng.normal(size=4), rng.normal(size=())


def value(w, s, a):
    """A function of a vector and a scalar, in operators that Tensors of both libraries have."""
    return (w * (a @ w)).sum() * 0.5 + (s * s - w.sum()) ** 2 + w.sum()


@pytest.mark.parametrize("name, options", CASES)
def test_fifty_steps_equal_pytorch_s(name, options):
    torch = pytest.importorskip("torch")
    a, w0, s0 = problem()
    w, s = (ad.Tensor(x, requires_grad=True) for x in (w0, s0))
    tw, ts = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (w0, s0))
    groups, theirs = [{"params": [w]}, {"params": [s], "lr": 0.01}], [{"params": [tw]}, {"params": [ts], "lr": 0.01}]
    mine, other = getattr(optim, name)(groups, **options), getattr(torch.optim, name)(theirs, **options)
    for step in range(50):
        mine.zero_grad()
        value(w, s, ad.Tensor(a)).backward()
        other.zero_grad()
        value(tw, ts, torch.tensor(a)).backward()
        if step % 7 == 3:  # a parameter without a gradient is skipped
            s.grad = ts.grad = None
        mine.step()
        other.step()
        np.testing.assert_allclose(w.data, tw.detach().numpy(), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(s.data, ts.detach().numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name, options", CASES)
def test_state_saved_in_the_middle_continues_to_the_bit(name, options):
    a, w0, s0 = problem()

    def run(steps, start=None):
        w, s = (ad.Tensor(x, requires_grad=True) for x in ((w0, s0) if start is None else start[0]))
        optimizer = getattr(optim, name)([w, s], **options)
        if start is not None:
            optimizer.load_state_dict(start[1])
        for _ in range(steps):
            optimizer.zero_grad()
            value(w, s, ad.Tensor(a)).backward()
            optimizer.step()
        return (w.data.copy(), s.data.copy()), optimizer.state_dict()

    straight, _ = run(20)
    half = run(10)
    resumed, _ = run(10, half)
    for x, y in zip(straight, resumed):
        np.testing.assert_array_equal(x, y)


def test_a_pytorch_state_dict_loads_and_continues_as_there():
    torch = pytest.importorskip("torch")
    w0 = np.array([1.0, -2.0, 0.5])
    tw = torch.tensor(w0, requires_grad=True)
    other = torch.optim.Adam([tw], lr=0.1)
    for _ in range(3):
        other.zero_grad()
        (tw**2).sum().backward()
        other.step()
    w = ad.Tensor(tw.detach().numpy(), requires_grad=True)
    mine = optim.Adam([w], lr=0.5)
    mine.load_state_dict(other.state_dict())
    other.zero_grad()
    (tw**2).sum().backward()
    other.step()
    (w**2).sum().backward()
    mine.step()
    np.testing.assert_allclose(w.data, tw.detach().numpy(), rtol=1e-12)


def test_a_snapshot_does_not_change_when_training_goes_on():
    w = ad.Tensor(np.ones(3), requires_grad=True)
    optimizer = optim.SGD([w], lr=0.1, momentum=0.9)
    (w**2).sum().backward()
    optimizer.step()
    snapshot = optimizer.state_dict()
    before = snapshot["state"][0]["momentum_buffer"].copy()
    optimizer.step()
    np.testing.assert_array_equal(snapshot["state"][0]["momentum_buffer"], before)
    json.dumps(snapshot["param_groups"])


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_the_parameter_s_array_is_updated_in_place_and_keeps_its_dtype(name):
    w = ad.Tensor(np.ones(3, "float32"), requires_grad=True)
    array = w.data
    optimizer = getattr(optim, name)([w], lr=np.float64(0.1), weight_decay=0.1)
    (w**2).sum().backward()
    optimizer.step()
    assert w.data is array and w.dtype == np.float32 and w.grad.dtype == np.float32
    assert (array != 1).all()


def test_a_graph_recorded_before_the_step_is_refused_after_it():
    w = ad.Tensor(np.ones(3), requires_grad=True)
    optimizer = optim.SGD([w], lr=0.1)
    loss = (w**2).sum()
    loss.backward()
    optimizer.step()
    with pytest.raises(RuntimeError, match="written or assigned"):
        loss.backward()


def test_gradients_are_not_changed_by_a_step():
    w = ad.Tensor(np.ones(3), requires_grad=True)
    for optimizer in [
        optim.SGD([w], lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True, maximize=True),
        optim.Adam([w], weight_decay=0.1, amsgrad=True),
    ]:
        w.zero_grad()
        (w * [1.0, 2.0, 3.0]).sum().backward()
        optimizer.step()
        optimizer.step()
        np.testing.assert_array_equal(w.grad.data, [1.0, 2.0, 3.0])


def test_the_closure_is_called_with_recording_on_and_its_loss_returned():
    w = ad.Tensor(2.0, requires_grad=True)
    optimizer = optim.SGD([w], lr=0.25)

    def closure():
        optimizer.zero_grad()
        loss = w**2
        loss.backward()
        return loss

    with ad.no_grad():
        assert optimizer.step(closure).item() == 4.0
    assert w.item() == 1.0
    assert optimizer.step() is None


def test_groups_override_the_defaults_and_may_be_added_later():
    a, b = ad.Tensor(1.0, requires_grad=True), ad.Tensor(1.0, requires_grad=True)
    optimizer = optim.SGD([{"params": a, "lr": 0.5}], lr=0.1)
    optimizer.add_param_group({"params": [b]})
    (a + b).backward()
    optimizer.step()
    assert (a.item(), b.item()) == (0.5, 0.9)
    optimizer.param_groups[1]["lr"] = 0.2
    optimizer.step()
    assert b.item() == pytest.approx(0.7)
    assert "2" not in repr(optimizer).splitlines()[0] and "lr=0.5" in repr(optimizer)


def test_an_optimiser_and_its_tensors_copy_and_pickle_together():
    w = ad.Tensor(np.ones(2), requires_grad=True)
    optimizer = optim.Adam([w], lr=0.1)
    (w**2).sum().backward()
    optimizer.step()
    w.zero_grad()
    for copied_w, copied in [copy.deepcopy((w, optimizer)), pickle.loads(pickle.dumps((w, optimizer)))]:
        assert copied.param_groups[0]["params"][0] is copied_w
        (copied_w**2).sum().backward()
        copied.step()
        assert (copied_w.data != w.data).all()


w = ad.Tensor([1.0, 2.0], requires_grad=True)


@pytest.mark.parametrize(
    "make, kind, words",
    [
        (lambda: optim.SGD([], lr=0.1), ValueError, "empty parameter list"),
        (lambda: optim.SGD([{"params": []}]), ValueError, "empty parameter list"),
        (lambda: optim.SGD(w), TypeError, "list of Tensors"),
        (lambda: optim.SGD({"params": [w]}), TypeError, "list of Tensors"),
        (lambda: optim.SGD(3), TypeError, "list of Tensors"),
        (lambda: optim.SGD({w}), TypeError, "not a set"),
        (lambda: optim.SGD([{"params": frozenset([w])}]), TypeError, "not a set"),
        (lambda: optim.SGD([w, w]), ValueError, "given twice"),
        (lambda: optim.SGD([{"params": [w]}, {"params": [w]}]), ValueError, "given twice"),
        (lambda: optim.SGD([np.ones(2)]), TypeError, "must be a Tensor"),
        (lambda: optim.SGD([("w", w), ad.Tensor(1.0)]), TypeError, "must have a name, or none"),
        (lambda: optim.SGD([ad.Tensor([1.0])]), ValueError, "no parameter requires a gradient"),
        (lambda: optim.SGD([w, ad.Tensor([1])]), ValueError, "only floats"),
        (lambda: optim.SGD([w], lr=np.array([0.1, 0.2])), TypeError, "lr"),
        (lambda: optim.SGD([w * 2]), ValueError, "not a leaf"),
        (lambda: optim.SGD([w], lr=-1), ValueError, "lr"),
        (lambda: optim.SGD([w], lr=float("nan")), ValueError, "lr"),
        (lambda: optim.SGD([w], lr=float("inf")), ValueError, "lr"),
        (lambda: optim.SGD([w], lr="0.1"), TypeError, "lr"),
        (lambda: optim.SGD([w], lr=None), TypeError, "lr"),
        (lambda: optim.SGD([w], lr=ad.Tensor(0.1, requires_grad=True)), TypeError, "SGD: lr is a Tensor that requires"),
        (lambda: optim.LBFGS([w], lr=ad.Tensor(1.0, requires_grad=True)), TypeError, "LBFGS: lr is a Tensor"),
        (lambda: optim.LBFGS([w], lr=ad.Tensor([1.0, 2.0])), TypeError, "lr must be a number"),
        (lambda: optim.SGD([w], momentum=-0.1), ValueError, "momentum"),
        (lambda: optim.SGD([w], weight_decay=-0.1), ValueError, "weight_decay"),
        (lambda: optim.SGD([w], nesterov=True), ValueError, "nesterov"),
        (lambda: optim.SGD([w], momentum=0.9, dampening=0.1, nesterov=True), ValueError, "nesterov"),
        (lambda: optim.SGD([{"params": [w], "lr": -1}]), ValueError, "lr"),
        (lambda: optim.SGD([{"params": [w], "lrr": 1}]), ValueError, "lrr"),
        (lambda: optim.Adam([w], lr=-1), ValueError, "lr"),
        (lambda: optim.Adam([w], betas=(0.9, 1.0)), ValueError, "betas"),
        (lambda: optim.Adam([w], betas=(-0.1, 0.9)), ValueError, "betas"),
        (lambda: optim.Adam([w], betas=(float("nan"), 0.9)), ValueError, "betas"),
        (lambda: optim.Adam([w], betas=0.9), TypeError, "betas"),
        (lambda: optim.Adam([w], eps=-1e-8), ValueError, "eps"),
        (lambda: optim.Adam([w], weight_decay=float("nan")), ValueError, "weight_decay"),
    ],
)
def test_bad_input_is_refused_with_its_name(make, kind, words):
    with pytest.raises(kind, match=words) as caught:
        make()
    assert any(name in str(caught.value) for name in ("SGD", "Adam", "LBFGS"))


def test_a_snapshot_that_does_not_fit_is_refused_and_changes_nothing():
    a, b = ad.Tensor(np.ones(2), requires_grad=True), ad.Tensor(np.ones(3), requires_grad=True)
    mine, other = optim.SGD([a], lr=0.1, momentum=0.9), optim.SGD([b], lr=0.2, momentum=0.9)
    b.sum().backward()
    other.step()
    with pytest.raises(ValueError, match=r"shape \(3,\), the parameter \(2,\)"):
        mine.load_state_dict(other.state_dict())
    with pytest.raises(ValueError, match="groups of"):
        mine.load_state_dict(optim.SGD([a, b]).state_dict())
    with pytest.raises(ValueError, match="another optimiser"):
        mine.load_state_dict(optim.Adam([a]).state_dict())
    with pytest.raises(TypeError, match="state_dict"):
        mine.load_state_dict([1])
    assert mine.param_groups[0]["lr"] == 0.1 and not mine.state


def test_the_values_of_a_dict_are_taken_in_their_order():
    a, b = (ad.Tensor(float(i), requires_grad=True) for i in range(2))
    optimizer = optim.SGD({"a": a, "b": b}.values(), lr=0.1)
    assert optimizer.param_groups[0]["params"] == [a, b]


# Parameters that share memory

EVERY = [name for name in optim.__all__ if isinstance(getattr(optim, name), type)
         and issubclass(getattr(optim, name), optim.Optimizer) and getattr(optim, name) is not optim.Optimizer]  # fmt: skip


def leaf_over(array):
    p = ad.Tensor(np.zeros(array.shape), requires_grad=True)
    p.data = array
    return p


@pytest.mark.parametrize("name", EVERY)
def test_two_parameters_over_the_same_memory_are_refused_by_name(name):
    memory = np.ones(6)
    p, q = leaf_over(memory[:4]), leaf_over(memory.reshape(2, 3)[1])
    p.name = "p"
    with pytest.raises(
        ValueError, match=r"parameter 0 \('p', shape \(4,\)\) and parameter 1 \(shape \(3,\)\) share memory"
    ):
        getattr(optim, name)([p, q])
    apart = getattr(optim, name)([leaf_over(memory[::2]), leaf_over(memory[1::2])])  # interleaved, but apart
    assert len(apart.param_groups[0]["params"]) == 2


@pytest.mark.parametrize("name", ["SGD", "LBFGS", "Newton"])
def test_two_that_come_to_share_memory_later_are_refused_before_the_first_step(name):
    p, q = leaf_over(np.ones(3)), leaf_over(np.ones(3))
    optimizer = getattr(optim, name)([p, q])
    q.data = p.data

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum() + (q**3).sum()
        loss.backward()
        return loss

    with pytest.raises(ValueError, match="share memory"):
        optimizer.step(closure)
    np.testing.assert_array_equal(p.data, np.ones(3))


def test_a_group_that_shares_memory_with_another_leaves_the_optimiser_as_it_was():
    p = leaf_over(np.ones(3))
    optimizer = optim.SGD([p])
    with pytest.raises(ValueError, match="share memory"):
        optimizer.add_param_group({"params": [leaf_over(p.data[1:])]})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("name", ["SGD", "Adam", "LBFGS"])
def test_a_hyper_parameter_that_is_a_tensor_is_the_number_it_holds(name):
    found = []
    for lr in (0.125, ad.Tensor(0.125)):
        p = ad.Tensor([1.0, 2.0], requires_grad=True)
        optimizer = getattr(optim, name)([p], lr=lr)

        def closure():
            optimizer.zero_grad()
            loss = (p**4).sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        found.append(p.data.copy())
        assert optimizer.param_groups[0]["lr"] == 0.125 and type(optimizer.param_groups[0]["lr"]) is float
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("rule", [optim.LBFGS, optim.SGD, optim.Adam])
def test_a_closure_that_does_not_call_backward_is_an_error(rule):
    p = nn.Parameter([1.0, 2.0])
    optimizer = rule([p], lr=0.1)
    with pytest.raises(
        RuntimeError, match=r"after the closure no parameter has a gradient; it must call loss\.backward"
    ):
        optimizer.step(lambda: (p * p).sum())
    assert p.tolist() == [1.0, 2.0]


def test_pytorchs_options_that_change_no_number_are_accepted_where_they_are_off():
    off = {"foreach": None, "fused": False, "capturable": np.False_, "differentiable": False}
    for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Lion"):
        w = ad.Tensor([1.0, 2.0], requires_grad=True)
        optimizer = getattr(optim, name)([w], lr=0.1, **off)
        assert not off.keys() & optimizer.param_groups[0].keys() and not off.keys() & optimizer.defaults.keys()
        for key in off:
            with pytest.raises(ValueError, match=f"{name}: {key} is False or None here.* not True"):
                getattr(optim, name)([w], **{key: True})
    with pytest.raises(TypeError, match="unexpected keyword argument 'each'"):
        optim.Adam([w], each=None)


# Step hooks


def hooks_of(optimizer, seen):
    before = lambda o, args, kwargs: seen.append(("before", o is optimizer, len(args), sorted(kwargs)))
    after = lambda o, args, kwargs: seen.append("after")
    return optimizer.register_step_pre_hook(before), optimizer.register_step_post_hook(after)


def test_hooks_of_the_step_are_called_around_it_as_pytorchs_and_can_be_taken_away():
    torch = pytest.importorskip("torch")
    found = []
    for library, w in (
        (optim, ad.Tensor([1.0], requires_grad=True)),
        (torch.optim, torch.ones(1, dtype=torch.float64, requires_grad=True)),
    ):
        optimizer, seen = library.SGD([w], lr=0.1), []
        first, second = hooks_of(optimizer, seen)
        closure = lambda w=w: ((w**2).sum().backward(), 7.0)[1]
        optimizer.step(), optimizer.step(closure), optimizer.step(closure=None)
        optimizer.register_step_pre_hook(lambda o, args, kwargs, closure=closure: ((o, closure), {}))
        optimizer.zero_grad()
        seen.append(optimizer.step())
        first.remove(), first.remove(), second.remove()
        optimizer.step()
        found.append((seen, np.round(w.detach().numpy(), 12).tolist()))
    assert found[0] == found[1] and found[0][0][:2] == [("before", True, 1, []), "after"]


@pytest.mark.parametrize("make", [
    lambda w: optim.LBFGS([w]), lambda w: optim.NewtonCG([w]), lambda w: optim.AdamW([w]), lambda w: optim.Newton([w]),
])  # fmt: skip
def test_every_optimisers_step_has_hooks_that_run_once_and_copies_have_none(make):
    class Inherited(type(make(ad.Tensor([1.0], requires_grad=True)))):
        def step(self, closure=None):
            return super().step(closure)

    w = ad.Tensor([1.0, 2.0], requires_grad=True)
    for optimizer in (make(w), Inherited([w])):
        seen = []
        hooks_of(optimizer, seen)

        def closure(optimizer=optimizer):
            optimizer.zero_grad()
            loss = ((w - 3.0) ** 4).sum()
            loss.backward(create_graph=True)
            return loss

        optimizer.step(closure)
        assert [entry if entry == "after" else entry[0] for entry in seen] == ["before", "after"]
        assert not copy.deepcopy(optimizer).step_hooks and copy.copy(optimizer).step_hooks is None


def test_hooks_go_on_after_a_step_that_fails_and_what_is_no_hook_is_refused():
    w = ad.Tensor([1.0], requires_grad=True)
    optimizer, seen = optim.SGD([w], lr=0.1), []
    hooks_of(optimizer, seen)
    with pytest.raises(RuntimeError, match="after the closure no parameter has a gradient"):
        optimizer.step(lambda: 0.0)
    optimizer.step()
    assert len(seen) == 3 and seen[-1] == "after"
    with pytest.raises(TypeError, match="register_step_post_hook: takes a function, not 3"):
        optimizer.register_step_post_hook(3)
    optimizer.register_step_pre_hook(lambda *a: 3)
    with pytest.raises(TypeError, match=r"SGD.step: a hook returns None or \(args, kwargs\), not 3"):
        optimizer.step()


def test_a_compiled_step_refuses_hooks_that_it_would_not_call():
    w = ad.Tensor([1.0], requires_grad=True)
    optimizer = optim.SGD([w], lr=0.1)

    def train(x):
        optimizer.zero_grad()
        loss = ((w - x) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss.detach()

    step = ad.compile(train, params=[w], optimizer=optimizer)
    step(np.ones(1)), step(np.ones(1))
    handle = optimizer.register_step_post_hook(lambda *a: None)
    with pytest.raises(TypeError, match="step has hooks, which a program would not call"):
        step(np.ones(1))
    handle.remove()
    step(np.ones(1))


# Adam's decoupled weight decay


def test_adam_with_decoupled_weight_decay_is_adamw_and_pytorchs_and_its_snapshots_load():
    torch = pytest.importorskip("torch")
    start, options = np.array([1.0, -2.0]), {"lr": 0.1, "weight_decay": 0.2}
    ours = [ad.Tensor(start, requires_grad=True) for _ in range(2)]
    theirs = torch.tensor(start, requires_grad=True)
    pair = optim.Adam([ours[0]], decoupled_weight_decay=True, **options), optim.AdamW([ours[1]], **options)
    other = torch.optim.Adam([theirs], decoupled_weight_decay=True, **options)
    for i in range(6):
        for w, optimizer in zip([*ours, theirs], [*pair, other]):
            optimizer.zero_grad(), (w**4).sum().backward(), optimizer.step()
        if i == 2:
            pair[0].load_state_dict(other.state_dict())
            pair[1].load_state_dict(torch.optim.Adam([theirs], **options).state_dict() | {
                "state": other.state_dict()["state"]})  # fmt: skip
    for w in ours:
        np.testing.assert_allclose(w.data, theirs.detach().numpy(), rtol=1e-12)
    coupled = optim.Adam([ours[0]], **options)
    coupled.load_state_dict(other.state_dict())
    assert coupled.param_groups[0]["decoupled_weight_decay"] is True
    snapshot = optim.AdamW([ours[1]]).state_dict()
    del snapshot["param_groups"][0]["decoupled_weight_decay"]  # as earlier versions wrote it
    pair[1].load_state_dict(snapshot)
    with pytest.raises(TypeError, match="Adam: decoupled_weight_decay is True or False"):
        optim.Adam([ours[0]], decoupled_weight_decay="yes")
