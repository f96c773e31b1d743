"""Modules beyond layers: hooks before, after and in the backward pass; finding by name; deep trees; loading."""

import copy
import gc
import pickle
import timeit
import warnings
import weakref

import numpy as np
import pytest

import autodiff as ad
import nn


def pair(rng, make):
    """The same network in torch and here, with the same weights, in double precision."""
    torch = pytest.importorskip("torch")
    theirs = make(torch.nn).double()
    mine = make(nn).double()
    mine.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    return mine, theirs, torch


def numbers(gradients):
    return [None if g is None else np.array(g.detach().numpy()) for g in gradients]


def assert_same_calls(mine, theirs):
    assert len(mine) == len(theirs)
    for (name, *groups), (other, *other_groups) in zip(mine, theirs):
        assert name == other
        for group, other_group in zip(groups, other_groups, strict=True):
            for a, b in zip(group, other_group, strict=True):
                assert (a is None) == (b is None)
                if a is not None:
                    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


# Forward hooks


class Keyworded(nn.Module):
    def forward(self, x, *, scale=1.0):
        return x * scale


def test_forward_hooks_run_in_order_see_and_replace_arguments_and_results():
    layer, seen = Keyworded(), []
    first = layer.register_forward_pre_hook(lambda m, args: seen.append(("pre", m is layer, args)))
    layer.register_forward_pre_hook(lambda m, args: args[0] + 1.0)
    layer.register_forward_pre_hook(lambda m, args, kwargs: (args, {"scale": kwargs["scale"] * 10}), with_kwargs=True)
    layer.register_forward_hook(lambda m, args, y: seen.append(("post", args, y)))
    layer.register_forward_hook(lambda m, args, kwargs, y: (y, kwargs), with_kwargs=True)
    layer.register_forward_hook(lambda m, args, y: seen.append("first"), prepend=True)
    assert layer(2.0, scale=3.0) == (90.0, {"scale": 30.0})
    assert seen == [("pre", True, (2.0,)), "first", ("post", (3.0,), 90.0)]
    first.remove()
    first.remove()
    del seen[:]
    layer(2.0, scale=3.0)
    assert seen == ["first", ("post", (3.0,), 90.0)]


def test_forward_hooks_equal_pytorch_s():
    mine, theirs, torch = pair(None, lambda n: n.Sequential(n.Linear(3, 4), n.Tanh(), n.Linear(4, 2)))
    x = np.random.default_rng(0).normal(size=(5, 3))
    calls = {}
    for model, t in ((mine, ad.Tensor(x)), (theirs, torch.tensor(x))):
        log = calls[model] = []

        def post(m, args, y, log=log):
            log.append((type(m).__name__, numbers(args), numbers([y])))
            return y * 2

        model[0].register_forward_pre_hook(lambda m, args: (args[0] ** 2,))
        for layer in model:
            layer.register_forward_hook(post)
        log.append(("result", numbers([model(t)])))
    assert_same_calls(calls[mine], calls[theirs])


def test_hooks_reach_modules_inside_and_removed_ones_leave_the_fast_path():
    model, seen = nn.Sequential(nn.Tanh(), nn.Sequential(nn.Tanh())), []
    handles = [m.register_forward_hook(lambda m, *_: seen.append(m)) for m in model.modules()]
    model(1.0)
    assert seen == [model[0], model[1][0], model[1], model]
    for handle in handles:
        handle.remove()
    model(1.0)
    assert len(seen) == 4 and not any(m._hooks for m in model.modules())


def test_a_module_without_hooks_is_called_as_fast_as_before_there_were_hooks():
    class Plain(nn.Module):
        def forward(self, x):
            return x

    class Before(Plain):  # what calling a module was
        def __call__(self, *args, **kwargs):
            start = nn.module.module.clock()
            result = self.forward(*args, **kwargs)
            self._calls.append((start, nn.module.module.clock()))
            return result

    layers = {name: kind() for name, kind in (("now", Plain), ("before", Before))}
    times = {name: [] for name in layers}
    for _ in range(15):
        for name, layer in layers.items():
            times[name].append(timeit.timeit(lambda: layer(1), number=4000) / 4000)
    assert min(times["now"]) < min(times["before"]) + 100e-9


# Backward hooks


class Branches(nn.Module):
    """Two inputs and a constant in, two outputs out; one input is not always used."""

    def forward(self, x, k, y):
        return (x * y * k).sum(), (x * x).sum()


def test_backward_hooks_see_pytorch_s_gradients():
    """Of the whole and its parts, with a residual branch around one: grad_input is what came through the module."""
    torch = pytest.importorskip("torch")

    def build(n):
        class Residual(n.Module):
            def __init__(self):
                super().__init__()
                self.inner = n.Sequential(n.Linear(3, 3), n.Tanh())

            def forward(self, x):
                return x + self.inner(x)

        return n.Sequential(Residual(), n.Linear(3, 2))

    mine, theirs, torch = pair(None, build)
    x = np.random.default_rng(0).normal(size=(4, 3))
    logs = []
    for model, t in ((mine, ad.Tensor(x, requires_grad=True)), (theirs, torch.tensor(x, requires_grad=True))):
        log = []
        for name, module in model.named_modules():
            module.register_full_backward_hook(lambda m, gi, go, n=name: log.append((n, numbers(gi), numbers(go))))
            module.register_full_backward_pre_hook(lambda m, go, n=name: log.append((f"pre {n}", numbers(go))))
        (model(t) ** 2).sum().backward()
        log.append(("x", numbers([t.grad])))
        log += [(n, numbers([p.grad])) for n, p in model.named_parameters()]
        logs.append(log)
    assert_same_calls(*logs)
    assert [name for name, *_ in logs[0]][:4] == ["pre ", "pre 1", "1", "pre 0"]


def test_several_inputs_and_outputs_each_have_their_place():
    torch = pytest.importorskip("torch")

    class Theirs(torch.nn.Module):
        forward = Branches.forward

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 3))
    logs = []
    for model, make in ((Branches(), lambda a: ad.Tensor(a, requires_grad=True)),
                        (Theirs(), lambda a: torch.tensor(a, requires_grad=True))):  # fmt: skip
        log = []
        model.register_full_backward_hook(lambda m, gi, go: log.append(("hook", numbers(gi), numbers(go))))
        model.register_full_backward_pre_hook(lambda m, go: log.append(("pre", numbers(go))))
        a, b = make(x), make(y)
        first, second = model(a, 2.0, b)
        (3 * first + second).backward()
        (model(a, 2.0, b)[1]).backward()  # uses neither b nor the first output
        log.append(("grads", numbers([a.grad, b.grad])))
        logs.append(log)
    assert_same_calls(*logs)
    assert logs[0][1][1][1] is None  # the number 2.0 has no gradient


def test_what_backward_hooks_return_replaces_the_gradients_as_in_pytorch():
    mine, theirs, torch = pair(None, lambda n: n.Sequential(n.Linear(3, 4), n.Tanh(), n.Linear(4, 2)))
    x = np.random.default_rng(0).normal(size=(5, 3))
    logs = []
    for model, t in ((mine, ad.Tensor(x, requires_grad=True)), (theirs, torch.tensor(x, requires_grad=True))):
        model[1].register_full_backward_hook(lambda m, gi, go: (gi[0] * 2,))
        model[1].register_full_backward_hook(lambda m, gi, go: (gi[0] + go[0],))
        model[2].register_full_backward_pre_hook(lambda m, go: (go[0] * 3,))
        model[2].register_full_backward_pre_hook(lambda m, go: (go[0] + 1,))
        model(t).sum().backward()
        logs.append([("grads", numbers([t.grad, *(p.grad for p in model.parameters())]))])
    assert_same_calls(*logs)


def test_without_an_input_that_needs_a_gradient_the_hook_runs_with_the_outputs_gradients():
    mine, theirs, torch = pair(None, lambda n: n.Linear(3, 2))
    x = np.ones((4, 3))
    logs = []
    for model, t in ((mine, ad.Tensor(x)), (theirs, torch.tensor(x))):
        log = []
        model.register_full_backward_hook(lambda m, gi, go: log.append(("hook", numbers(gi), numbers(go))))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model(t).sum().backward()
        logs.append(log)
    assert_same_calls(*logs)
    assert logs[0][0][1] == [None]


def test_hooked_modules_can_be_differentiated_twice_and_hooks_may_take_part():
    mine, theirs, torch = pair(None, lambda n: n.Sequential(n.Linear(3, 4), n.Tanh(), n.Linear(4, 2)))
    x = np.random.default_rng(0).normal(size=(5, 3))
    logs = []
    for model, t, gradients in (
        (mine, ad.Tensor(x, requires_grad=True), ad.gradients),
        (theirs, torch.tensor(x, requires_grad=True), torch.autograd.grad),
    ):
        model[1].register_full_backward_hook(lambda m, gi, go: (gi[0] ** 2,))
        (g,) = gradients((model(t) ** 2).sum(), t, create_graph=True)
        second = gradients((g**2).sum(), [t, *model.parameters()], allow_unused=True)
        logs.append([("first", numbers([g])), ("second", numbers(second))])
    assert_same_calls(*logs)


def test_recorded_graphs_keep_the_hooks_they_were_recorded_with():
    layer, seen = nn.Tanh(), []
    x = ad.Tensor([1.0], requires_grad=True)
    before = layer(x).sum()
    handle = layer.register_full_backward_hook(lambda *_: seen.append(1))
    with_hook = layer(x).sum()
    handle.remove()
    before.backward()
    assert not seen
    with_hook.backward()
    with_hook.backward()
    assert len(seen) == 2
    with ad.no_grad():
        layer.register_full_backward_hook(lambda *_: seen.append(1))
        assert not layer(x).requires_grad


def test_hooks_leave_no_cycles_in_a_graph(no_collector):
    layer = nn.Linear(3, 2)
    layer.register_full_backward_hook(lambda m, gi, go: gi)
    layer.register_full_backward_pre_hook(lambda m, go: go)
    layer.register_forward_hook(lambda m, args, y: y * 1.0)
    x = ad.Tensor(np.ones((2, 3)), requires_grad=True)
    for create_graph in (False, True):
        y = layer(x)
        dead = weakref.ref(y)
        g = ad.gradients((y * y).sum(), [x, *layer.parameters()], create_graph=create_graph)
        del y, g
        assert dead() is None
    assert gc.isenabled() is False


def test_wrong_results_of_hooks_and_wrong_hooks_are_refused():
    layer = nn.Linear(3, 2)
    x = ad.Tensor(np.ones((2, 3)), requires_grad=True)
    for name in ["forward_pre", "forward", "full_backward", "full_backward_pre"]:
        with pytest.raises(TypeError, match=f"register_{name}_hook: takes a function, not 3"):
            getattr(layer, f"register_{name}_hook")(3)
    with_pre = layer.register_forward_pre_hook(lambda m, args, kwargs: args, with_kwargs=True)
    with pytest.raises(TypeError, match=r"Linear.*\(args, kwargs\)"):
        layer(x)
    with_pre.remove()
    for hook, kind, words in [
        (lambda m, gi, go: (gi[0], gi[0]), ValueError, "Linear.*hook returned 2 gradients, grad_input has 1"),
        (lambda m, gi, go: (gi[0].numpy(),), TypeError, "Tensor or None"),
        (lambda m, gi, go: (gi[0][0],), ValueError, "shape"),
    ]:
        handle = layer.register_full_backward_hook(hook)
        y = layer(x).sum()
        handle.remove()
        with pytest.raises(kind, match=words):
            y.backward()
        assert x.grad is None and layer.weight.grad is None

    class Dicts(nn.Module):
        def forward(self, x):
            return {"y": x}

    model = Dicts()
    model.register_full_backward_hook(lambda *_: None)
    with pytest.warns(UserWarning, match="Dicts.*dict"):
        model(x)


def _double(module, args, output):
    return output * 2


def test_hooks_are_copied_and_pickled_with_their_module():
    layer = nn.Tanh()
    layer.register_forward_hook(_double)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert other(1.0).item() == 2 * np.tanh(1.0)
        other.register_forward_hook(_double)
        assert other(1.0).item() == 4 * np.tanh(1.0) and layer(1.0).item() == 2 * np.tanh(1.0)


# Finding, converting, showing


class Net(nn.Module):
    def __init__(self):
        self.body = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 1)))
        self.register_buffer("mean", np.zeros(2))
        self.register_buffer("none", None)


def test_submodules_parameters_and_buffers_are_found_by_dotted_names():
    net = Net()
    assert net.get_submodule("") is net and net.get_submodule("body.1.0") is net.body[1][0]
    assert net.get_parameter("body.1.0.weight") is net.body[1][0].weight
    assert net.get_buffer("mean") is net.mean
    for find, name, words in [
        (net.get_submodule, "body.2", "Sequential has no module '2' .*'body.2'.*it has: 0, 1"),
        (net.get_submodule, "mean", "Net has no module 'mean'"),
        (net.get_parameter, "body.0.weigth", "Linear has no parameter 'weigth'.*weight, bias"),
        (net.get_parameter, "mean", "Net has no parameter"),
        (net.get_buffer, "none", "Net has no buffer 'none'"),
        (net.get_buffer, "body.mean", "Sequential has no buffer 'mean'.*none"),
    ]:
        with pytest.raises(AttributeError, match=words):
            find(name)


def test_aliases_that_pytorch_s_users_know():
    net = Net()
    net.register_module("head", nn.Tanh())
    assert isinstance(net.head, nn.Tanh)
    assert net.double() is net and net.body[0].weight.dtype == np.float64
    assert net.float().body[0].weight.dtype == net.mean.dtype == np.float32
    net.body(np.ones((1, 2), "float32")).sum().backward()
    net.zero_grad(set_to_none=False)
    assert all(p.grad is not None and not p.grad.data.any() for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_dir_lists_what_can_be_typed():
    assert {"body", "mean", "forward"} <= set(dir(Net()))
    assert "0" not in dir(Net().body)


def test_trees_a_thousand_levels_deep_are_shown_walked_and_saved():
    model = leaf = nn.Linear(2, 2)
    for _ in range(1000):
        model = nn.Sequential(model)
    text = repr(model).split("\n")
    assert len(text) == 2001 and text[1000] == " " * 2000 + "(0): " + repr(leaf)
    assert text[-1] == ") · 6 parameters" and text[-2] == "  ) · 6 parameters"
    order = []
    model.apply(order.append)
    assert order[0] is leaf and order[-1] is model and len(order) == 1001
    assert list(model.state_dict()) == ["0." * 1000 + "weight", "0." * 1000 + "bias"]
    assert model.eval().get_parameter("0." * 1000 + "weight") is leaf.weight


def test_the_representation_counts_shared_parameters_once_and_respects_other_representations():
    class Custom(nn.Module):
        def __repr__(self):
            return "Custom of\ntwo lines"

    shared = nn.Linear(2, 2)
    model = nn.Sequential(shared, nn.Sequential(shared, Custom()))
    assert repr(model).split("\n") == [
        "Sequential(",
        "  (0): Linear(in_features=2, out_features=2, bias=True) · 6 parameters",
        "  (1): Sequential(",
        "    (0): Linear(in_features=2, out_features=2, bias=True) · 6 parameters",
        "    (1): Custom of",
        "    two lines",
        "  ) · 6 parameters",
        ") · 6 parameters",
    ]
    loop = nn.Sequential(nn.Tanh())
    loop.add_module("self", loop)
    assert repr(loop) == "Sequential(\n  (0): Tanh()\n  (self): Sequential(...)\n)"


# Loading


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "longdouble", "bfloat16"])
def test_floating_values_of_every_kind_are_cast_to_the_parameter_s_dtype(dtype):
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    layer = nn.Linear(2, 1)
    array = layer.weight.data
    layer.load_state_dict({"weight": np.array([[1.5, -2.0]]).astype(dtype), "bias": np.array([0.25]).astype(dtype)})
    assert layer.weight.data is array and array.dtype == np.float32 and array.tolist() == [[1.5, -2.0]]
    assert layer.bias.tolist() == [0.25]


@pytest.mark.parametrize("kind", ["bool", "complex128", "U3", "O"])
def test_values_of_other_kinds_are_errors_that_name_the_key(kind):
    layer = nn.Linear(2, 1)
    before = layer.weight.data.copy()
    with pytest.raises(RuntimeError, match=r"1 difference, nothing was loaded:\n  bias: dtype .* float32"):
        layer.load_state_dict({"weight": np.zeros((1, 2)), "bias": np.ones(1).astype(kind)})
    np.testing.assert_array_equal(layer.weight.data, before)


def test_integer_buffers_take_integers_that_fit():
    module = nn.Module()
    module.register_buffer("count", np.array(0, "int32"))
    module.load_state_dict({"count": np.array(7, "int64")})
    assert module.count.item() == 7 and module.count.dtype == np.int32
    for value in (np.array(2**40), np.array(1.0)):
        with pytest.raises(RuntimeError, match="count: dtype"):
            module.load_state_dict({"count": value})


def test_a_state_with_the_module_s_own_memory_under_other_names_is_loaded_as_it_was():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    a, b = (layer.weight.data.copy() for layer in model)
    state = model.state_dict()
    swapped = {f"{1 - int(name[0])}{name[1:]}": tensor for name, tensor in state.items()}
    model.load_state_dict(swapped)
    np.testing.assert_array_equal(model[0].weight.data, b)
    np.testing.assert_array_equal(model[1].weight.data, a)
    model.load_state_dict({name: t.data[::-1] for name, t in model.state_dict().items()})
    np.testing.assert_array_equal(model[0].weight.data, b[::-1])


def test_torch_tensors_are_taken_and_one_that_numpy_cannot_hold_is_named():
    torch = pytest.importorskip("torch")
    layer, theirs = nn.Linear(2, 1), torch.nn.Linear(2, 1)
    layer.load_state_dict(theirs.state_dict())
    np.testing.assert_array_equal(layer.weight.data, theirs.weight.detach().numpy())
    with pytest.raises(RuntimeError, match="weight: is no array"):
        layer.load_state_dict(theirs.bfloat16().state_dict())
