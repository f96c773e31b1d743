"""Modules and layers: PyTorch's names, numbers and state_dict keys; and what bad input gets."""

import copy
import json
import pickle
from collections import OrderedDict

import numpy as np
import pytest

import autodiff as ad
import nn
import nn.functional as F


@pytest.fixture(autouse=True)
def same_state_before_and_after():
    state, dtype = nn.get_rng_state(), nn.get_default_dtype()
    nn.manual_seed(0)
    yield
    nn.set_rng_state(state)
    nn.set_default_dtype(dtype)


def copied_from(torch_module, module):
    module.load_state_dict({k: v.numpy() for k, v in torch_module.state_dict().items()})
    return module


def assert_same(make, torch_make, *inputs, target=None):
    """Output, gradients and a Hessian-vector product equal PyTorch's in double precision, with copied weights."""
    torch = pytest.importorskip("torch")
    theirs = torch_make(torch).double()
    mine = copied_from(theirs, make().astype(np.float64))
    rng = np.random.default_rng(1)
    xs = [ad.Tensor(x, requires_grad=True) for x in inputs]
    txs = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in inputs]
    extra, textra = ([], []) if target is None else ([target], [torch.tensor(target)])
    y, ty = mine(*xs, *extra), theirs(*txs, *textra)
    np.testing.assert_allclose(y.data, ty.detach().numpy(), rtol=1e-9, atol=1e-12)
    g = rng.normal(size=y.shape)
    wrt, twrt = xs + list(mine.parameters()), txs + list(theirs.parameters())
    first = ad.gradients((y * y * g).sum(), wrt, create_graph=True)
    tfirst = torch.autograd.grad((ty * ty * torch.tensor(g)).sum(), twrt, create_graph=True)
    for a, b in zip(first, tfirst, strict=True):
        np.testing.assert_allclose(a.data, b.detach().numpy(), rtol=1e-9, atol=1e-12)
    vs = [rng.normal(size=a.shape) for a in first]
    second = ad.gradients(sum(((a * v).sum() for a, v in zip(first, vs)), ad.Tensor(0.0)), wrt)
    tsecond = torch.autograd.grad(sum((a * torch.tensor(v)).sum() for a, v in zip(tfirst, vs)), twrt)
    for a, b in zip(second, tsecond, strict=True):
        np.testing.assert_allclose(a.data, b.numpy(), rtol=1e-7, atol=1e-10)


# Layers, activations and losses against PyTorch


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 4, 3), (2, 1, 5, 3), (0, 3)])
def test_linear_equals_pytorch_s_to_second_order(shape, bias):
    x = np.random.default_rng(0).normal(size=shape)
    assert_same(lambda: nn.Linear(3, 2, bias), lambda torch: torch.nn.Linear(3, 2, bias), x)


@pytest.mark.parametrize("name", ["ReLU", "Tanh", "Sigmoid"])
def test_activations_equal_pytorch_s_to_second_order(name):
    x = np.random.default_rng(0).normal(size=(3, 4)) * 3
    assert_same(getattr(nn, name), lambda torch: getattr(torch.nn, name)(), x)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_mse_loss_equals_pytorch_s_by_both_arguments(reduction):
    x, t = np.random.default_rng(0).normal(size=(2, 3, 4))
    assert_same(lambda: nn.MSELoss(reduction=reduction), lambda torch: torch.nn.MSELoss(reduction=reduction), x, t)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(5,), (4, 5), (4, 5, 3)])
def test_cross_entropy_equals_pytorch_s_with_classes_and_probabilities(shape, reduction):
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape)
    axis = 1 if len(shape) > 1 else 0
    classes = rng.integers(0, 5, size=shape[:axis] + shape[axis + 1 :])
    p = np.abs(rng.normal(size=shape))
    for target in (classes, p / p.sum(axis=axis, keepdims=True)):
        assert_same(
            lambda: nn.CrossEntropyLoss(reduction=reduction),
            lambda torch: torch.nn.CrossEntropyLoss(reduction=reduction),
            x,
            target=target,
        )


def test_a_network_equals_pytorch_s():
    def make(n):
        return n.Sequential(n.Linear(3, 8), n.Tanh(), n.Sequential(n.Linear(8, 8), n.ReLU()), n.Linear(8, 2))

    x = np.random.default_rng(0).normal(size=(6, 3))
    assert_same(lambda: make(nn), lambda torch: make(torch.nn), x)
    import torch

    assert list(make(nn).state_dict()) == list(make(torch.nn).state_dict())


def test_the_functions_equal_the_modules_and_scipy():
    special = pytest.importorskip("scipy.special")
    x = np.random.default_rng(0).normal(size=(3, 4))
    np.testing.assert_array_equal(F.relu(x).data, nn.ReLU()(x).data)
    np.testing.assert_allclose(F.sigmoid(x).data, special.expit(x))
    np.testing.assert_allclose(F.tanh(x).data, np.tanh(x))
    np.testing.assert_allclose(F.softmax(x, dim=0).data, special.softmax(x, axis=0))
    np.testing.assert_allclose(F.log_softmax(x).data, special.log_softmax(x, axis=-1))
    w, b = np.ones((2, 4)), np.arange(2.0)
    np.testing.assert_allclose(F.linear(x, w, b).data, x @ w.T + b)
    np.testing.assert_allclose(F.linear(x, w).data, x @ w.T)


@pytest.mark.parametrize("bias", [True, False])
def test_the_fused_linear_operation_passes_the_finite_difference_checks(bias):
    rng = np.random.default_rng(0)
    for shape in [(4, 3), (3,), (2, 2, 3), (0, 3)]:
        inputs = [rng.normal(size=shape), rng.normal(size=(2, 3)), rng.normal(size=2)][: 2 + bias]
        assert ad.gradcheck(F.linear, inputs) and ad.gradgradcheck(F.linear, inputs)


# Initial values, random numbers, dtypes


def test_linear_layers_may_be_complex_and_have_pytorchs_values_and_gradients():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 3)) + 1j * rng.normal(size=(5, 3))
    for make, inputs in (
        (lambda n, dtype: n.Linear(3, 4, dtype=dtype), [x]),
        (lambda n, dtype: n.Linear(3, 2, bias=False, dtype=dtype), [x[0]]),
        (lambda n, dtype: n.Bilinear(3, 3, 2, dtype=dtype), [x, x.conj()]),
    ):
        ours, theirs = make(nn, "complex128"), make(torch.nn, torch.complex128)
        ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
        y, given = ours(*inputs), [*map(torch.tensor, inputs)]
        if len(given) == 1:
            t = theirs(*given)
        else:  # PyTorch's has no derivative there
            t = torch.einsum("bi,oij,bj->bo", given[0], theirs.weight, given[1]) + theirs.bias
        np.testing.assert_allclose(y.data, t.detach().numpy(), rtol=1e-12)
        (abs(y) ** 2).sum().backward(), (abs(t) ** 2).sum().backward()
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            np.testing.assert_allclose(p.grad.data, q.grad.numpy(), rtol=1e-12)
    weight = nn.Linear(400, 500, dtype="complex64").weight.data  # both parts within ±1/√in, as PyTorch's
    assert weight.dtype == np.complex64
    for part in (weight.real, weight.imag):
        assert abs(part).max() <= 0.05 and part.var() == pytest.approx(0.05**2 / 3, rel=0.01)
    assert abs(np.vdot(weight.real, weight.imag)) < 0.01 * np.vdot(weight, weight).real


def test_initial_values_are_uniform_within_one_over_root_fan_in():
    layer = nn.Linear(400, 500)
    for p in layer.parameters():
        assert p.dtype == np.float32 and np.abs(p.data).max() <= 1 / 20
    w = layer.weight.data
    assert w.std() == pytest.approx(1 / 20 / np.sqrt(3), rel=0.01) and abs(w.mean()) < 1e-3


def test_seeds_states_and_explicit_generators_repeat_initial_values():
    def drawn(**options):
        return nn.Linear(3, 3, **options).weight.data.copy()

    nn.manual_seed(5)
    first = drawn()
    state = json.loads(json.dumps(nn.get_rng_state()))
    second = drawn()
    nn.set_rng_state(state)
    np.testing.assert_array_equal(drawn(), second)
    nn.manual_seed(5)
    before = nn.get_rng_state()
    np.testing.assert_array_equal(drawn(rng=np.random.default_rng(5)), first)
    assert nn.get_rng_state() == before
    np.testing.assert_array_equal(drawn(), first)
    assert (first != second).any()


def test_default_dtypes_and_explicit_ones():
    assert nn.get_default_dtype() == np.float32
    assert nn.Linear(2, 2, dtype="float64").weight.dtype == np.float64
    nn.set_default_dtype(np.float64)
    assert nn.Linear(2, 2).bias.dtype == np.float64 and nn.Parameter([1.0]).dtype == np.float64
    assert nn.Parameter(np.ones(2, "float32")).dtype == np.float32


def test_a_float32_layer_keeps_float32_and_takes_float64():
    layer = nn.Linear(3, 2)
    y = layer(np.ones((4, 3), "float32"))
    assert y.dtype == np.float32
    assert nn.functional.cross_entropy(y, np.zeros(4, int)).dtype == np.float32
    assert nn.functional.mse_loss(y, np.zeros((4, 2), "float32")).dtype == np.float32
    y = layer(np.ones((4, 3)))
    assert y.dtype == np.float64
    y.sum().backward()
    assert layer.weight.grad.dtype == np.float32 and layer.weight.grad.shape == (2, 3)


# Module


class Block(nn.Module):
    def __init__(self):
        self.inner = nn.Linear(2, 2)
        self.scale = nn.Parameter(np.ones(1, "float32"))
        self.same = self.inner
        self.register_buffer("mean", np.zeros(2, "float32"))
        self.register_buffer("count", np.array(0))
        self.register_buffer("cache", None, persistent=False)
        self.register_parameter("shift", None)
        self.plain = [1, 2]

    def forward(self, x, *, twice=False):
        return self.inner(x) * self.scale * (2.0 if twice else 1.0)


def test_the_tree_is_walked_in_order_and_shared_parts_once():
    model = nn.Sequential(Block(), nn.Tanh())
    block = model[0]
    names = ["0.scale", "0.inner.weight", "0.inner.bias"]
    assert [n for n, _ in model.named_parameters()] == names
    assert [n for n, _ in model.named_parameters(remove_duplicate=False)] == names + ["0.same.weight", "0.same.bias"]
    assert [n for n, _ in block.named_parameters(recurse=False)] == ["scale"]
    assert next(n for n, _ in model.named_parameters(prefix="net")) == "net.0.scale"
    assert [n for n, _ in model.named_buffers()] == ["0.mean", "0.count"]
    assert [n for n, _ in model.named_modules()] == ["", "0", "0.inner", "1"]
    assert [n for n, _ in block.named_children()] == ["inner"] and list(block.children()) == [block.inner]
    assert len(list(model.parameters())) == 3 and len(list(model.buffers())) == 2 and len(list(model.modules())) == 4
    assert model(np.ones(2, "float32")).shape == (2,)
    x = np.ones(2, "float32")
    np.testing.assert_array_equal(block(x, twice=True).data, 2 * block(x).data)


def test_the_same_walk_as_pytorch_s():
    torch = pytest.importorskip("torch")

    def make(base, n, tensor):
        class Net(base):
            def __init__(self):
                super().__init__()
                self.a = n.Linear(2, 3)
                self.register_buffer("b", tensor([1.0]))
                self.c = n.Parameter(tensor([2.0]))
                self.d = n.Sequential(OrderedDict(first=n.Linear(3, 3), second=n.ReLU()))
                self.e = self.a

        return Net()

    mine, theirs = make(nn.Module, nn, ad.Tensor), make(torch.nn.Module, torch.nn, torch.tensor)
    for walk in ["named_parameters", "named_buffers", "named_modules", "named_children"]:
        assert [n for n, _ in getattr(mine, walk)()] == [n for n, _ in getattr(theirs, walk)()]
    assert list(mine.state_dict()) == list(theirs.state_dict())
    order = []
    mine.apply(lambda m: order.append(type(m).__name__))
    expected = []
    theirs.apply(lambda m: expected.append(type(m).__name__))
    assert order == expected


def test_attributes_may_change_but_keep_their_role():
    block = Block()
    block.shift = nn.Parameter([1.0])
    assert "shift" in dict(block.named_parameters())
    block.shift = None
    assert "shift" not in dict(block.named_parameters())
    block.mean = ad.Tensor([1.0, 1.0])
    assert dict(block.named_buffers())["mean"].tolist() == [1.0, 1.0]
    del block.inner
    assert [n for n, _ in block.named_children()] == ["same"]
    with pytest.raises(TypeError, match=r"scale is a parameter.*nn.Parameter\(value\)"):
        block.scale = ad.Tensor([1.0])
    with pytest.raises(TypeError, match="same is a module"):
        block.same = 3
    with pytest.raises(TypeError, match="mean is a buffer"):
        block.mean = nn.Parameter([1.0])
    with pytest.raises(KeyError, match="dot"):
        block.register_buffer("a.b", None)
    with pytest.raises(KeyError, match="empty"):
        block.add_module("", nn.Tanh())
    with pytest.raises(KeyError, match="taken"):
        block.add_module("forward", nn.Tanh())
    with pytest.raises(TypeError, match="takes a Module"):
        block.add_module("m", 3)
    with pytest.raises(TypeError, match="takes a Parameter"):
        block.register_parameter("p", ad.Tensor(1.0))
    with pytest.raises(TypeError, match="buffer is constant"):
        block.register_buffer("p", ad.Tensor(1.0, requires_grad=True))
    with pytest.raises(NotImplementedError, match="define forward"):
        nn.Module()(1)


def test_train_eval_freeze_and_zero_grad_reach_the_whole_tree():
    model = nn.Sequential(Block(), nn.Tanh())
    assert model.eval() is model and not any(m.training for m in model.modules())
    assert model.train() is model and all(m.training for m in model.modules())
    with pytest.raises(TypeError, match="mode"):
        model.train("yes")
    model(np.ones((1, 2), "float32")).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())
    model.requires_grad_(False)
    assert not model(np.ones((1, 2), "float32")).requires_grad


def test_astype_converts_parameters_gradients_and_floating_buffers():
    block = Block()
    block(np.ones((1, 2), "float32")).sum().backward()
    weight = block.inner.weight
    assert block.astype("float64") is block and block.inner.weight is weight
    assert weight.dtype == weight.grad.dtype == block.mean.dtype == np.float64
    assert block.count.dtype == np.int64
    with pytest.raises(TypeError, match="floating-point"):
        block.astype(int)


def test_the_representation_is_a_tree_with_parameter_counts():
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Sequential(nn.Linear(64, 10, bias=False)))
    assert repr(model).splitlines() == [
        "Sequential(",
        "  (0): Linear(in_features=64, out_features=64, bias=True) · 4,160 parameters",
        "  (1): ReLU()",
        "  (2): Sequential(",
        "    (0): Linear(in_features=64, out_features=10, bias=False) · 640 parameters",
        "  ) · 640 parameters",
        ") · 4,800 parameters",
    ]
    assert repr(nn.MSELoss(reduction="sum")) == "MSELoss(reduction='sum')"


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_modules_copy_and_pickle_with_gradients_and_sharing(duplicate):
    model = nn.Sequential(Block(), nn.Linear(2, 1)).eval()
    x = np.ones((3, 2), "float32")
    model(x).sum().backward()
    other = duplicate(model)
    assert other[0].same is other[0].inner and not other.training
    for (name, p), (other_name, q) in zip(model.named_parameters(), other.named_parameters(), strict=True):
        assert name == other_name and type(q) is nn.Parameter and q.requires_grad and q is not p
        np.testing.assert_array_equal(p.data, q.data)
        np.testing.assert_array_equal(p.grad.data, q.grad.data)
        q.data += 1.0
        assert (p.data != q.data).all()
    assert not np.allclose(model(x).data, other(x).data)


# Saving and loading


def test_state_shares_memory_loads_in_place_and_casts_floats():
    model, other = nn.Sequential(Block()), nn.Sequential(Block())
    state = model.state_dict()
    assert list(state) == [
        "0.scale",
        "0.mean",
        "0.count",
        "0.inner.weight",
        "0.inner.bias",
        "0.same.weight",
        "0.same.bias",
    ]
    assert not any(t.requires_grad for t in state.values())
    state["0.scale"].data[...] = 7
    assert model[0].scale.item() == 7
    array = other[0].scale.data
    assert other.load_state_dict(model.state_dict()) == ([], [])
    assert array[0] == 7 and other[0].scale.data is array
    for dtype in ["float16", "float64"]:
        other.load_state_dict({k: v.data.astype(dtype) if v.dtype.kind == "f" else v for k, v in state.items()})
        assert other[0].scale.dtype == np.float32
    np.testing.assert_allclose(other[0].inner.weight.data, model[0].inner.weight.data)


def test_loading_tells_the_engine_that_graphs_recorded_before_no_longer_fit():
    layer = nn.Linear(2, 1)
    y = layer(np.ones((1, 2), "float32")) ** 2
    layer.load_state_dict(copy.deepcopy(layer.state_dict()))
    with pytest.raises(RuntimeError, match="written or assigned"):
        y.sum().backward()


def test_all_differences_of_a_state_are_reported_at_once_and_nothing_is_written():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = copy.deepcopy(model.state_dict())
    state = {
        "0.weight": np.zeros((3, 3), "float32"),
        "0.bias": np.zeros(3, bool),
        "1.weight": np.zeros((1, 3), "float32"),
        "2.bias": np.zeros(1),
    }
    with pytest.raises(RuntimeError) as caught:
        model.load_state_dict(state)
    message = str(caught.value)
    for part in ["4 differences", "1.bias: missing", "2.bias: unexpected", "0.weight: shape (3, 3), the module has (3, 2)",
                 "0.bias: dtype bool"]:  # fmt: skip
        assert part in message
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.data, before[name].data)
    result = model.load_state_dict({"1.weight": np.ones((1, 3)), "x": 1.0}, strict=False)
    assert result.missing_keys == ["0.weight", "0.bias", "1.bias"] and result.unexpected_keys == ["x"]
    assert model[1].weight.tolist() == [[1.0, 1.0, 1.0]]
    with pytest.raises(RuntimeError, match=r"1.weight: dtype <U3"):
        model.load_state_dict({"1.weight": np.full((1, 3), "abc")}, strict=False)
    with pytest.raises(TypeError, match="dict of arrays"):
        model.load_state_dict([1])


@pytest.mark.parametrize("target, values, exact", [
    ("float32", [0, -3, 2**24], True), ("float32", [0, 0, 2**24 + 1], False), ("float32", [2**25, 0, 2**62], True),
    ("float16", [2048, -2048, 4096], True), ("float16", [2049, 0, 0], False), ("float16", [70000, 0, 0], False),
    ("float64", [2**53, -(2**63), 0], True), ("float64", [2**53 + 1, 0, 0], False), ("float64", [2**63 - 1, 0, 0], False),
])  # fmt: skip
def test_integers_that_the_parameters_dtype_holds_exactly_are_loaded(target, values, exact):
    layer = nn.Linear(3, 1, bias=False, dtype=target)
    for array in (np.array([values]), [values]):
        if exact:
            layer.load_state_dict({"weight": array})
            assert [int(x) for x in layer.weight.data[0]] == values
        else:
            with pytest.raises(RuntimeError, match="weight: dtype int64 does not fit the module's float"):
                layer.load_state_dict({"weight": array})
    layer.load_state_dict({"weight": np.array([[0, 200, 255]], np.uint8)})
    assert layer.weight.tolist() == [[0.0, 200.0, 255.0]]
    for wrong in ([[True, False, True]], [[1j, 0, 0]], [["1", "2", "3"]]):
        with pytest.raises(RuntimeError, match="weight: dtype"):
            layer.load_state_dict({"weight": np.array(wrong)})


# Sequential


def test_plain_functions_stand_in_a_sequential():
    model = nn.Sequential(nn.Linear(2, 3), np.tanh, lambda x: x * 2)
    x = np.ones((4, 2), "float32")
    np.testing.assert_array_equal(model(x).data, 2 * np.tanh(model[0](x).data))
    assert [type(m).__name__ for m in model] == ["Linear", "Lambda", "Lambda"] and model[1].function is np.tanh
    model[2] = nn.functional.relu
    assert repr(model[2]) == "Lambda(relu)" and list(model.state_dict()) == ["0.weight", "0.bias"]
    relu = pickle.loads(pickle.dumps(copy.deepcopy(model[2])))
    np.testing.assert_array_equal(relu(ad.Tensor([-1.0, 2.0])).data, [0.0, 2.0])
    assert nn.Lambda(np.add)(1.0, 2.0) == 3.0
    for wrong in (nn.ReLU, 3.0, nn.ReLU()):
        with pytest.raises(TypeError, match="Lambda: takes a function, not"):
            nn.Lambda(wrong)


def test_sequential_indexes_slices_and_changes_as_pytorch_s():
    a, b, c = nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1)
    model = nn.Sequential(OrderedDict(first=a, second=b))
    assert model.append(c) is model and list(model) == [a, b, c] and len(model) == 3
    assert model[0] is a and model[-1] is c and list(model[1:]) == [b, c] and isinstance(model[1:], nn.Sequential)
    assert list(model.state_dict()) == ["first.weight", "first.bias", "2.weight", "2.bias"]
    plain = nn.Sequential(a, b)
    plain.insert(1, nn.ReLU())
    assert [type(m).__name__ for m in plain] == ["Linear", "ReLU", "Tanh"] and plain[2] is b
    plain[1] = c
    assert plain[1] is c
    del plain[0]
    assert list(plain) == [c, b] and [n for n, _ in plain.named_children()] == ["0", "1"]
    assert nn.Sequential()(3) == 3
    with pytest.raises(IndexError, match="out of range for 3"):
        model[3]
    with pytest.raises(TypeError, match=r"write Tanh\(\)"):
        nn.Sequential(nn.Tanh)
    with pytest.raises(TypeError, match="takes modules"):
        nn.Sequential(3.0)


# Bad input


def test_bad_input_is_refused_with_the_layer_s_name_and_what_it_expects():
    layer = nn.Linear(3, 2)
    for call, kind, words in [
        (lambda: layer(np.ones((4, 5))), ValueError, r"in_features=3.*\(4, 5\).*\(\.\.\., 3\)"),
        (lambda: layer(np.array(1.0)), ValueError, r"\(\).*\(\.\.\., 3\)"),
        (lambda: layer(np.ones((4, 3), int)), TypeError, "int64.*astype"),
        (lambda: nn.Linear(-1, 2), ValueError, "in_features"),
        (lambda: nn.Linear(2.5, 2), TypeError, "in_features"),
        (lambda: nn.Linear(2, True), TypeError, "out_features"),
        (lambda: nn.Linear(2, 2, dtype=int), TypeError, "floating-point"),
        (lambda: nn.Linear(2, 2, rng=3), TypeError, "Generator"),
        (lambda: F.linear(np.ones(3), np.ones((2, 4))), ValueError, "linear: needs"),
        (lambda: F.linear(np.ones(3), np.ones((2, 3)), np.ones(3)), ValueError, "bias"),
        (lambda: F.mse_loss(np.ones((3, 1)), np.ones(3)), ValueError, r"\(3, 1\).*\(3,\)"),
        (lambda: F.mse_loss(np.ones(3), np.ones(3), reduction="max"), ValueError, "max"),
        (lambda: nn.CrossEntropyLoss(reduction="avg"), ValueError, "avg"),
        (lambda: F.cross_entropy(np.ones((2, 3)), np.array([0, 3])), (ValueError, IndexError), "3"),
        (lambda: nn.manual_seed(-1), ValueError, "-1"),
        (lambda: nn.manual_seed("x"), TypeError, "x"),
        (lambda: nn.set_rng_state(3), TypeError, "get_rng_state"),
        (lambda: nn.set_rng_state({"bit_generator": "Dice"}), ValueError, "Dice"),
        (lambda: nn.set_rng_state({"bit_generator": "PCG64"}), ValueError, "PCG64"),
        (lambda: nn.set_default_dtype("int32"), TypeError, "int32"),
        (lambda: nn.Parameter(np.ones(2, int)), TypeError, "floating-point"),
    ]:
        with pytest.raises(kind, match=words):
            call()


def test_an_empty_batch_passes_with_zero_gradients():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    y = model(np.zeros((0, 3), "float32"))
    assert y.shape == (0, 2)
    y.sum().backward()
    assert all(p.grad.shape == p.shape and not p.grad.data.any() for p in model.parameters())


def test_in_no_grad_nothing_is_recorded():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU()).eval()
    with ad.no_grad():
        y = model(np.ones((2, 3), "float32"))
    assert not y.requires_grad and y.op is None


def test_many_calls_keep_no_more_than_a_few_notes():
    layer = nn.Tanh()
    for _ in range(1000):
        layer(1.0)
    assert len(layer._calls) <= 256
