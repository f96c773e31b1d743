"""Lists and dicts of modules and of parameters, and the multilayer perceptron."""

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest

import autodiff as ad
import nn
import nn.functional as F


def linears(n):
    return [nn.Linear(1, i + 1) for i in range(n)]


def arrays(n):
    return [np.full(i + 1, float(i)) for i in range(n)]


# Lists


@pytest.mark.parametrize("kind", [nn.ModuleList, nn.Sequential, nn.ParameterList])
def test_a_list_has_a_list_s_protocol(kind):
    make = (lambda *items: kind(*items)) if kind is nn.Sequential else (lambda *items: kind(items))
    items = [nn.Parameter(a) for a in arrays(5)] if kind is nn.ParameterList else linears(5)
    a, b, c, d, e = items
    same = lambda found, expected: len(found) == len(expected) and all(x is y for x, y in zip(found, expected))
    box = make(a, b, c)
    assert same(box, [a, b, c]) and box[0] is a and box[-1] is c and bool(box) and not make()
    assert any(x is b for x in box)
    part = box[1:]
    assert isinstance(part, kind) and same(part, [b, c]) and same(box[::-1], [c, b, a])
    assert box.append(d) is box and same(box, [a, b, c, d])
    assert box.extend([e]) is box and same(box, [a, b, c, d, e])
    assert box.pop() is e and box.pop(0) is a and same(box, [b, c, d])
    assert box.insert(1, a) is box and same(box, [b, a, c, d])
    assert same(box.insert(-1, e), [b, a, c, e, d])
    del box[3]
    del box[1:3]
    assert same(box, [b, d])
    box[0] = a
    box[-1] = c
    assert same(box, [a, c])
    total = box + [b, d]
    assert same(total, [a, c, b, d]) and same(box, [a, c]) and isinstance(total, kind)
    box += [e]
    assert same(box, [a, c, e])
    names = ["0", "1", "2"]
    own = box.named_parameters(recurse=False) if kind is nn.ParameterList else box.named_children()
    assert [n for n, _ in own] == names
    with pytest.raises(IndexError, match=f"{kind.__name__}: index 3 is out of range for 3"):
        box[3]
    with pytest.raises(TypeError, match="integer or a slice"):
        box["0"]
    with pytest.raises(TypeError, match=kind.__name__):
        box.append("x")
    with pytest.raises(TypeError, match=kind.__name__):
        box.extend(3)
    assert same(box, [a, c, e])


def test_containers_register_what_they_hold_with_pytorch_s_keys():
    torch = pytest.importorskip("torch")

    def model(lib, linear, parameter):
        class Net(lib.Module):
            def __init__(self):
                super().__init__()
                self.layers = lib.ModuleList([linear(2, 3), linear(3, 1)])
                self.heads = lib.ModuleDict({"mean": linear(1, 1), "log_variance": linear(1, 2)})
                self.scales = lib.ParameterList([parameter(2), parameter(3)])
                self.named = lib.ParameterDict(OrderedDict(a=parameter(2), b=parameter(1)))
                self.mlp = lib.Sequential(linear(2, 2), lib.Tanh(), linear(2, 2))

        return Net()

    ours = model(nn, nn.Linear, lambda n: nn.Parameter(np.zeros(n, "float32")))
    theirs = model(torch.nn, torch.nn.Linear, lambda n: torch.nn.Parameter(torch.zeros(n)))
    assert sorted(ours.state_dict()) == sorted(theirs.state_dict())
    ours.load_state_dict({k: v.detach().numpy() for k, v in theirs.state_dict().items()})
    for name, v in theirs.state_dict().items():
        np.testing.assert_array_equal(ours.state_dict()[name].data, v.numpy())
    assert len(list(ours.parameters())) == len(list(theirs.parameters()))


def test_lists_of_modules_compute_nothing_themselves():
    for box in (nn.ModuleList(), nn.ModuleDict(), nn.ParameterList(), nn.ParameterDict()):
        with pytest.raises(NotImplementedError, match=type(box).__name__):
            box(np.ones(3))


def test_sequential_repeats_and_adds():
    a, b = nn.Tanh(), nn.ReLU()
    assert list(nn.Sequential(a, b) * 2) == [a, b, a, b] == list(2 * nn.Sequential(a, b))
    model = nn.Sequential(a)
    model *= 3
    assert list(model) == [a, a, a] and [n for n in model._names()] == ["0", "1", "2"]
    assert list(nn.Sequential(a) + nn.Sequential(b)) == [a, b]


def test_parameter_lists_make_parameters_of_arrays_and_tensors_and_train():
    box = nn.ParameterList([np.ones(2), ad.Tensor([1.0]), nn.Parameter([2.0])])
    assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in box)
    box[1] = np.array([3.0, 4.0])
    assert isinstance(box[1], nn.Parameter) and box[1].tolist() == [3, 4]
    sum((p * p).sum() for p in box).backward()
    assert box[1].grad.tolist() == [6, 8]
    assert repr(nn.ParameterDict({"a": np.ones(2)})).splitlines()[1] == "  (a): Parameter(2,)"
    with pytest.raises(TypeError, match="ParameterList"):
        nn.ParameterList([1.0])


# Dicts


@pytest.mark.parametrize("kind", [nn.ModuleDict, nn.ParameterDict])
def test_a_dict_has_a_dict_s_protocol(kind):
    items = [nn.Parameter(a) for a in arrays(4)] if kind is nn.ParameterDict else linears(4)
    a, b, c, d = items
    box = kind({"a": a, "b": b})
    assert list(box) == ["a", "b"] == list(box.keys()) and len(box) == 2 and bool(box) and not kind()
    assert box["a"] is a and "a" in box and "c" not in box and 3 not in box and "forward" not in box
    assert [v is w for v, w in zip(box.values(), [a, b])] == [True, True]
    assert [(k, v is w) for (k, v), w in zip(box.items(), [a, b])] == [("a", True), ("b", True)]
    assert list(reversed(box)) == ["b", "a"]
    box["c"] = c
    box["a"] = d
    assert list(box) == ["a", "b", "c"] and box["a"] is d
    box.update([("d", a)])
    box.update({"b": c})
    assert list(box) == ["a", "b", "c", "d"] and box["b"] is c
    del box["a"]
    assert box.pop("b") is c and box.pop("nothing", None) is None and list(box) == ["c", "d"]
    assert box.get("c") is c and box.get("x") is None and box.get("x", 3) == 3
    assert box.setdefault("c", d) is c and box.setdefault("e", b) is b
    name, last = box.popitem()
    assert name == "e" and last is b
    both = box | {"z": b}
    assert list(both) == ["c", "d", "z"] and list(box) == ["c", "d"] and isinstance(both, kind)
    box |= kind({"y": b})
    assert list(box) == ["c", "d", "y"]
    twin = box.copy()
    assert type(twin) is kind and list(twin) == list(box) and twin["y"] is b
    box.clear()
    assert not len(box) and not list(box.parameters()) and len(twin) == 3
    with pytest.raises(KeyError, match=f"{kind.__name__} has no .* 'x'; it has: c, d, y"):
        twin["x"]
    with pytest.raises(KeyError, match="x"):
        twin.pop("x")
    with pytest.raises(KeyError, match="empty"):
        box.popitem()
    with pytest.raises(TypeError, match=kind.__name__):
        twin["x"] = "y"
    with pytest.raises(TypeError, match=kind.__name__):
        twin.update(3)
    with pytest.raises(KeyError, match="dot"):
        twin["a.b"] = a
    with pytest.raises(KeyError, match="taken"):
        twin["keys"] = a
    assert list(twin) == ["c", "d", "y"]


def test_a_parameter_dict_from_keys_has_parameters_of_their_own():
    box = nn.ParameterDict.fromkeys(["a", "b"], np.ones(2))
    assert box["a"] is not box["b"] and box["a"].tolist() == [1, 1]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_containers_copy_and_pickle(duplicate):
    box = nn.ModuleDict({"list": nn.ModuleList(linears(2)), "vectors": nn.ParameterList(arrays(2))})
    twin = duplicate(box)
    assert list(twin.state_dict()) == list(box.state_dict())
    twin["list"][0].weight.data += 1
    assert (twin["list"][0].weight.data != box["list"][0].weight.data).all()


# The multilayer perceptron


def test_an_mlp_is_pytorch_s_sequential():
    torch = pytest.importorskip("torch")
    t = torch.nn
    reference = t.Sequential(t.Linear(3, 4), t.BatchNorm1d(4), t.Tanh(), t.Linear(4, 5), t.BatchNorm1d(5), t.Tanh(),
                             t.Linear(5, 2), t.Sigmoid()).double()  # fmt: skip
    model = nn.MLP([3, 4, 5, 2], activation="tanh", output_activation=nn.Sigmoid, norm="batch", dtype="float64")
    from tests.against_torch import same_layer

    same_layer(model, reference, np.random.default_rng(0).normal(size=(6, 3)))


def test_an_mlp_takes_activations_as_classes_names_and_modules():
    kinds = lambda model: [type(m).__name__ for m in model]
    assert kinds(nn.MLP([3, 16, 2])) == ["Linear", "ReLU", "Linear"]
    assert kinds(nn.MLP((3, 2))) == ["Linear"]
    assert kinds(nn.MLP([3, 4, 2], "leaky_relu")) == ["Linear", "LeakyReLU", "Linear"]
    assert kinds(nn.MLP([3, 4, 2], None)) == ["Linear", "Linear"]
    assert kinds(nn.MLP([3, 4, 2], nn.Tanh(), "softmax")) == ["Linear", "Tanh", "Linear", "Softmax"]
    assert kinds(nn.MLP([3, 4, 4, 2], dropout=0.2, norm=nn.LayerNorm)) == [
        "Linear", "LayerNorm", "ReLU", "Dropout", "Linear", "LayerNorm", "ReLU", "Dropout", "Linear"]  # fmt: skip
    model = nn.MLP([3, 4, 4, 2], nn.PReLU())
    assert model[1] is not model[3] and model[1].weight is not model[3].weight
    assert model[0].in_features == 3 and isinstance(model[:2], nn.Sequential)
    assert nn.MLP([2, 2, 1], bias=False)[0].bias is None
    assert nn.MLP([2, 2, 1], dtype="float64")(np.ones((4, 2))).shape == (4, 1)


def test_an_mlp_takes_plain_functions_as_activations():
    model = nn.MLP([2, 3, 3, 1], ad.sigmoid, np.exp)
    assert [type(m).__name__ for m in model] == ["Linear", "Lambda"] * 3 and model[1] is not model[3]
    named = nn.MLP([2, 3, 3, 1], "sigmoid")
    named.load_state_dict(model.state_dict())
    x = np.ones((2, 2), "float32")
    np.testing.assert_array_equal(model(x).data, np.exp(named(x).data))


def test_an_mlp_draws_from_its_generator_and_trains():
    make = lambda: nn.MLP([2, 8, 1], "tanh", rng=np.random.default_rng(0), dtype="float64")
    model = make()
    np.testing.assert_array_equal(model[0].weight.data, make()[0].weight.data)
    x, y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([[0.0], [1], [1], [0]])
    for _ in range(2000):
        model.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        for p in model.parameters():
            p.data -= 0.1 * p.grad.data
    assert loss.item() < 0.01


def test_an_mlp_refuses_what_it_cannot_build():
    for call, kind, words in [
        (lambda: nn.MLP([3]), ValueError, "MLP: sizes"),
        (lambda: nn.MLP(3), ValueError, "MLP: sizes"),
        (lambda: nn.MLP([3, 2.5]), TypeError, "out_features"),
        (lambda: nn.MLP([3, 2, 1], "tahn"), ValueError, "MLP: no activation is named 'tahn'.*tanh"),
        (lambda: nn.MLP([3, 2], "tahn"), ValueError, "MLP: no activation is named 'tahn'"),
        (lambda: nn.MLP([3, 2], norm="group"), ValueError, "MLP: norm"),
        (lambda: nn.MLP([3, 2, 1], 3), TypeError, "MLP: activation.* a function or None, not 3"),
        (lambda: nn.MLP([3, 2, 1], norm="group"), ValueError, "MLP: norm"),
        (lambda: nn.MLP([3, 2, 1], norm=3), TypeError, "MLP: norm"),
        (lambda: nn.MLP([3, 2, 1], dropout=1.5), ValueError, "MLP: dropout"),
    ]:
        with pytest.raises(kind, match=words):
            call()
