"""Spectral and weight norm: PyTorch's numbers and state_dict keys, in training, in copies and under transforms."""

import copy
import pickle

import numpy as np
import pytest

import autodiff as ad
import nn
import optim
from autodiff.tensor import plain
from tests.stand_in import Device

LAYERS = {
    "Linear": (lambda nn: nn.Linear(4, 3), (5, 4), "weight"),
    "Conv2d": (lambda nn: nn.Conv2d(2, 3, 3), (2, 2, 5, 5), "weight"),
    "ConvTranspose2d": (lambda nn: nn.ConvTranspose2d(2, 3, 3), (2, 2, 4, 4), "weight"),
    "LSTM": (lambda nn: nn.LSTM(4, 3), (6, 2, 4), "weight_hh_l0"),
}
NORMS = {
    "spectral": ("spectral_norm", {}), "spectral, 3 steps": ("spectral_norm", {"n_power_iterations": 3, "dim": 1}),
    "weight": ("weight_norm", {}), "weight, other axis": ("weight_norm", {"dim": 1}),
    "weight, all": ("weight_norm", {"dim": None}),
}  # fmt: skip


def loss(output):
    return ((output[0] if isinstance(output, tuple) else output) ** 2).sum()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("layer", LAYERS)
def test_training_and_evaluation_are_pytorchs_with_its_state(layer, norm):
    torch = pytest.importorskip("torch")
    make, shape, name = LAYERS[layer]
    function, options = NORMS[norm]
    x = np.random.default_rng(0).normal(size=shape)
    theirs = getattr(torch.nn.utils, function)(make(torch.nn).double(), name, **options)
    ours = getattr(nn.utils, function)(make(nn).double(), name, **options)
    assert sorted(ours.state_dict()) == sorted(theirs.state_dict())
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    there, here = torch.optim.SGD(theirs.parameters(), lr=0.01), optim.SGD(ours.parameters(), lr=0.01)
    for _ in range(4):
        there.zero_grad()
        loss(theirs(torch.tensor(x))).backward()
        there.step()
        here.zero_grad()
        loss(ours(x)).backward()
        here.step()
    for key, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[key], value, rtol=1e-10, atol=1e-12, err_msg=key)
    np.testing.assert_allclose(
        loss(ours.eval()(x)).item(), loss(theirs.eval()(torch.tensor(x))).item(), rtol=1e-11
    )  # fmt: skip


def bounded(layer, **options):
    return nn.utils.spectral_norm(layer, rng=np.random.default_rng(1), **options)


def test_the_weight_has_norm_1_and_its_derivative_is_that_of_w_over_its_singular_value():
    layer = bounded(nn.Linear(4, 3, dtype="float64"), n_power_iterations=200)
    x, w = np.random.default_rng(0).normal(size=(5, 4)), layer.weight_orig.numpy().copy()
    np.testing.assert_allclose(np.linalg.norm(layer.weight.numpy(), 2), 1.0, rtol=1e-3)  # after 15 steps
    loss(layer(x)).backward()
    np.testing.assert_allclose(layer.weight.numpy(), w / np.linalg.norm(w, 2), rtol=1e-12)
    exact = ad.grad(lambda w: loss(x @ (w / np.linalg.svd(w, full_matrices=False)[1][0]).T + layer.bias.data))(w)
    np.testing.assert_allclose(layer.weight_orig.grad, exact, rtol=1e-9)


@pytest.mark.parametrize("function", ["spectral_norm", "weight_norm"])
def test_copies_of_a_trained_layer_go_on_as_it_does_and_have_memory_of_their_own(function):
    layer, x = getattr(nn.utils, function)(nn.Linear(4, 3, dtype="float64")), np.ones((2, 4))
    loss(layer(x)).backward()
    copies = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    state = {key: value.numpy().copy() for key, value in layer.state_dict().items()}
    for one in copies:
        np.testing.assert_array_equal(one.weight.numpy(), layer.weight.numpy())
    found = [one(x).numpy() for one in copies]
    assert all(np.array_equal(layer.state_dict()[key], value) for key, value in state.items())
    wanted = layer(x).numpy()
    for one, y in zip(copies, found):
        np.testing.assert_array_equal(y, wanted)
        loss(one(x)).backward()
        assert all(p.grad is not None for p in one.parameters())


def test_two_weights_of_a_layer_are_computed_and_copied():
    layer, x = nn.LSTM(4, 3, dtype="float64"), np.ones((5, 2, 4))
    both = nn.utils.spectral_norm(nn.utils.weight_norm(layer, "weight_hh_l0"), "weight_ih_l0")
    assert both is layer and isinstance(layer, nn.LSTM) and repr(layer) == "LSTM(4, 3) · 120 parameters"
    for one in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(one.eval()(x)[0].numpy(), layer.eval()(x)[0].numpy())


@pytest.mark.parametrize("function", ["spectral_norm", "weight_norm"])
def test_the_weight_is_that_of_the_present_parameters_with_its_derivative_whenever_it_is_read(function):
    layer = getattr(nn.utils, function)(nn.Linear(4, 3, dtype="float64"))
    with ad.no_grad():
        layer.eval()(np.ones((2, 4)))
    ours, name = dict(layer.named_parameters()), {"spectral_norm": "weight_orig", "weight_norm": "weight_g"}[function]
    assert ad.gradients(nn.penalty.l2(layer, 1.0), ours[name])[0].shape == ours[name].shape
    before = layer.weight.numpy()
    ours[name].data = ours[name].data * 3.0
    np.testing.assert_allclose(layer.weight.numpy(), before * (1.0 if function == "spectral_norm" else 3.0), rtol=1e-12)
    with pytest.raises(KeyError, match="'weight' is taken"):
        layer.weight = nn.Parameter(np.ones((3, 4)))


def test_a_second_call_in_training_leaves_the_graph_of_the_first_as_it_was():
    layer, x = bounded(nn.Linear(4, 3, dtype="float64")), np.eye(4)
    first = loss(layer(x))
    once = ad.gradients(first, layer.weight_orig)[0].numpy()
    for _ in range(3):
        layer(x)
    layer.eval()(x)
    np.testing.assert_array_equal(ad.gradients(first, layer.weight_orig)[0], once)
    evaluated = loss(layer(x))
    before = ad.gradients(evaluated, layer.weight_orig)[0].numpy()
    layer.train()(x)
    np.testing.assert_array_equal(ad.gradients(evaluated, layer.weight_orig)[0], before)


def test_a_training_as_a_program_is_the_same_and_a_checkpoint_continues_it(tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 4))

    def train(epochs, **options):
        rng = np.random.default_rng(3)
        hidden = bounded(nn.Linear(4, 8, dtype="float64", rng=rng))
        model = nn.Sequential(hidden, nn.Tanh(), nn.utils.weight_norm(nn.Linear(8, 2, dtype="float64", rng=rng)))
        sgd = optim.SGD(model.parameters(), lr=0.5)
        optim.fit(model, nn.MSELoss(), (x, x[:, :2]), optimizer=sgd, epochs=epochs, rng=0, **options)
        return {key: value.numpy() for key, value in model.state_dict().items()}

    whole = train(4)
    for other in (
        train(4, compile="numpy"),
        train(2, checkpoint=tmp_path) and train(4, checkpoint=tmp_path, resume=True),
    ):
        for key, value in whole.items():
            np.testing.assert_allclose(other[key], value, rtol=1e-12, err_msg=key)


@pytest.mark.parametrize("function", ["spectral_norm", "weight_norm"])
def test_on_a_device_it_computes_the_same(function):
    there, found = ad.Tensor(Device(np.zeros(1))), []
    for place in ("cpu", there):
        layer = nn.Linear(4, 3, dtype="float64", rng=np.random.default_rng(0)).to(place)
        nn.manual_seed(2)
        layer = getattr(nn.utils, function)(layer)
        assert {type(plain(t)) for t in layer.state_dict().values()} == {type(plain(layer.bias))}
        loss(layer(ad.Tensor(np.eye(4)).to(place))).backward()
        found.append(
            [p.grad.cpu().numpy() for p in layer.parameters()] + [layer.eval()(ad.ones(4).to(place)).cpu().numpy()]
        )
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-12)


def test_derivatives_by_all_parameters_of_a_model_as_a_function_of_them():
    layer, x = (
        bounded(nn.Linear(4, 3, dtype="float64")).eval(),
        np.random.default_rng(0).normal(size=(5, 4)),
    )
    params = {name: p.numpy().copy() for name, p in layer.named_parameters()}
    f = lambda params, x: loss(nn.functional_call(layer, params, (x,)))
    assert ad.gradcheck(lambda w: f(params | {"weight_orig": w}, x), params["weight_orig"])
    each = ad.vmap(ad.grad(f), in_axes=(None, 0))(params, x)["weight_orig"]
    np.testing.assert_allclose(each.sum(axis=0), ad.grad(f)(params, x)["weight_orig"], rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda u: u.spectral_norm(nn.ReLU()), ValueError, "ReLU has no parameter 'weight' of its own, but none"),
        (lambda u: u.weight_norm(nn.Sequential(nn.Linear(1, 1))), ValueError, "give it the layers inside, one by one"),
        (lambda u: u.spectral_norm(u.spectral_norm(nn.Linear(2, 2))), ValueError, "no parameter 'weight'.* weight_orig"),
        (lambda u: u.spectral_norm(nn.LayerNorm(3)), ValueError, r"weight has shape \(3,\); a matrix needs two axes"),
        (lambda u: u.spectral_norm(nn.Linear(2, 2), dim=2), ValueError, r"dim is an axis of the weight \(shape \(2, 2\)\)"),
        (lambda u: u.weight_norm(nn.Linear(2, 2), dim="rows"), ValueError, "not 'rows'"),
        (lambda u: u.spectral_norm(nn.Linear(2, 2), n_power_iterations=0), ValueError, "n_power_iterations is at least 1"),
        (lambda u: u.spectral_norm(np.eye(2)), TypeError, "spectral_norm: takes a layer, not array"),
    ],
)  # fmt: skip
def test_what_has_no_such_weight_is_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call(nn.utils)
