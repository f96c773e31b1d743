"""A model as a function of its parameters, against torch.func; the transforms through it; what it puts back."""

import threading

import numpy as np
import pytest

import autodiff as ad
import nn
from tests.against_torch import close


@pytest.fixture
def pair(rng):
    torch = pytest.importorskip("torch")
    make = lambda nn: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.BatchNorm1d(4), nn.Linear(4, 2))
    theirs, ours = make(torch.nn).double().eval(), make(nn).double().eval()
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    values = {k: rng.normal(size=p.shape) for k, p in ours.named_parameters()}
    return ours, theirs, values, rng.normal(size=(5, 3))


def test_values_gradients_and_hessian_vector_products_are_torch_func_s(pair, rng):
    ours, theirs, values, x = pair
    torch = pytest.importorskip("torch")
    tensors, x_ = {k: torch.tensor(v) for k, v in values.items()}, torch.tensor(x)
    loss = lambda p: (nn.functional_call(ours, p, (x,)) ** 4).sum()
    theirs_loss = lambda p: (torch.func.functional_call(theirs, p, (x_,)) ** 4).sum()
    close(nn.functional_call(ours, values, x).data, torch.func.functional_call(theirs, tensors, x_), 1e-9)
    for name, gradient in torch.func.grad(theirs_loss)(tensors).items():
        close(ad.grad(loss)(values)[name], gradient, 1e-9)
    v = {k: rng.normal(size=a.shape) for k, a in values.items()}
    product = torch.func.jvp(torch.func.grad(theirs_loss), (tensors,), ({k: torch.tensor(a) for k, a in v.items()},))
    for name, expected in product[1].items():
        close(ad.hvp(loss, (values,), (v,))[0][name], expected, 1e-7)
    assert ad.gradcheck(loss, (values,)) and ad.gradgradcheck(loss, (values,))


def test_vmap_gives_gradients_of_each_example_and_runs_an_ensemble_of_models(pair, rng):
    ours, _, values, x = pair
    loss = lambda p, x: (nn.functional_call(ours, p, x[None]) ** 2).sum()
    each = ad.vmap(ad.grad(loss), in_axes=(None, 0))(values, x)
    for i in range(len(x)):
        for name, one in ad.grad(loss)(values, x[i]).items():
            np.testing.assert_allclose(each[name][i], one, rtol=1e-11, atol=1e-13)
    models = {k: np.stack([a, 2 * a, -a]) for k, a in values.items()}
    together = ad.vmap(lambda p: nn.functional_call(ours, p, x))(models)
    for i in range(3):
        alone = nn.functional_call(ours, {k: a[i] for k, a in models.items()}, x)
        np.testing.assert_allclose(together[i].data, alone.data, rtol=1e-11, atol=1e-13)


def test_compiled_it_takes_new_values_as_arguments_and_reads_the_others_at_every_call(pair):
    ours, _, values, x = pair
    ours.requires_grad_(False)
    step = ad.value_and_grad(lambda p, x: (nn.functional_call(ours, p, x) ** 2).sum())
    compiled, part = ad.compile(step), {name: values[name] for name in ("0.weight", "3.bias")}
    for scale in (1.0, 2.0):
        ours[0].bias.data = ours[0].bias.data * scale
        for given in (values, {k: v * scale for k, v in part.items()}):
            (value, gradient), (expected, slopes) = compiled(given, x), step(given, x)
            assert value.item() == pytest.approx(expected.item(), rel=1e-13)
            for name, slope in slopes.items():
                np.testing.assert_allclose(gradient[name], slope, rtol=1e-12)


def test_a_gradient_through_gradient_steps_is_torch_func_s(pair):
    """MAML: the loss after an inner step, differentiated through the step."""
    ours, theirs, values, x = pair
    torch = pytest.importorskip("torch")
    inner = lambda p: (nn.functional_call(ours, p, x) ** 2).mean()
    inner_ = lambda p: (torch.func.functional_call(theirs, p, torch.tensor(x)) ** 2).mean()

    def adapted(grad, loss):
        return lambda p: loss({k: p[k] - 0.1 * g for k, g in grad(loss)(p).items()})

    found = ad.grad(adapted(ad.grad, inner))({k: ad.Tensor(v) for k, v in values.items()})
    expected = torch.func.grad(adapted(torch.func.grad, inner_))({k: torch.tensor(v) for k, v in values.items()})
    for name, gradient in expected.items():
        close(found[name].data, gradient, 1e-9)


def test_an_influence_function_predicts_what_leaving_an_example_out_changes(rng):
    """Koh & Liang 2017: −∇ℓ(z)ᵀ H⁻¹ ∇ℓ(z_i)/n, of a quadratic loss, where training anew is a linear solve."""
    x, y, model = rng.normal(size=(400, 2)), rng.normal(size=(400, 1)), nn.Linear(2, 1, bias=False).double()
    loss = lambda p, x, y: ((nn.functional_call(model, p, x) - y) ** 2).mean()
    fitted = lambda keep: {"weight": np.linalg.lstsq(x[keep], y[keep], rcond=None)[0].T}
    best, others = fitted(np.arange(400)), np.arange(1, 400)
    g = ad.grad(loss)
    hessian = ad.hessian(lambda w: loss({"weight": w}, x, y))(best["weight"]).reshape(2, 2)
    test, left_out = (g(best, *z)["weight"].ravel() for z in ((x[5:6], y[5:6]), (x[:1], y[:1])))
    influence = test @ np.linalg.solve(hessian, left_out) / 400
    change = loss(fitted(others), x[5:6], y[5:6]).item() - loss(best, x[5:6], y[5:6]).item()
    assert influence == pytest.approx(change, rel=0.05)


def test_every_kind_of_layer_computes_with_the_values_it_is_given(rng):
    images, sequences = rng.normal(size=(2, 3, 6, 6)), rng.normal(size=(2, 5, 4))
    for layer, x in [
        (nn.Conv2d(3, 4, 3), images), (nn.GroupNorm(1, 3), images), (nn.BatchNorm2d(3), images),
        (nn.LSTM(4, 3, num_layers=2, bidirectional=True), sequences), (nn.GRU(4, 3), sequences),
        (nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0), sequences), (nn.PReLU(), images),
        (nn.LSTMCell(4, 3), sequences[0]), (nn.Embedding(7, 3), np.array([[1, 2], [6, 0]])),
    ]:  # fmt: skip
        layer.double()
        values = {k: rng.normal(size=p.shape) for k, p in layer.named_parameters()}
        first = lambda y: y[0] if isinstance(y, tuple) else y
        found = first(nn.functional_call(layer, values, x))
        layer.load_state_dict(values, strict=False)
        np.testing.assert_array_equal(found.data, first(layer(x)).data)
        moved = ad.grad(lambda p: (first(nn.functional_call(layer, p, x)) ** 2).sum())(values)
        (first(layer(x)) ** 2).sum().backward()
        for name, p in layer.named_parameters():
            np.testing.assert_allclose(moved[name], p.grad.data, rtol=1e-12, atol=1e-14)


# Ties, names, buffers


class Tied(nn.Module):
    def __init__(self):
        self.one = nn.Linear(2, 2, bias=False)
        self.two = nn.Linear(2, 2, bias=False)
        self.two.weight = self.one.weight

    def forward(self, x, *, scale=1.0):
        return self.two(self.one(x)) * scale


def test_a_value_for_one_of_a_tensor_s_names_stands_at_all_of_them_unless_told_otherwise():
    model, x, w = Tied().double(), np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]])
    own = model.one.weight.data
    np.testing.assert_allclose(nn.functional_call(model, {"two.weight": w}, x).data, w.T @ w.T)
    apart = nn.functional_call(model, {"two.weight": w}, x, tie_weights=False)
    np.testing.assert_allclose(apart.data, own.T @ w.T)
    both = nn.functional_call(model, {"two.weight": w, "one.weight": 2 * w}, x, tie_weights=False)
    np.testing.assert_allclose(both.data, 2 * w.T @ w.T)
    np.testing.assert_allclose(nn.functional_call(model, {"two.weight": w, "one.weight": w}, x).data, w.T @ w.T)
    np.testing.assert_array_equal(nn.functional_call(model, model.state_dict(), x).data, model(x).data)
    with pytest.raises(ValueError, match=r"two.weight and one.weight are one tensor.* or say tie_weights=False"):
        nn.functional_call(model, {"two.weight": w, "one.weight": w + 1}, x)
    gradient = ad.grad(lambda p: nn.functional_call(model, p, x, {"scale": 3.0}).sum())({"one.weight": w})
    assert ad.gradcheck(lambda w: nn.functional_call(model, {"one.weight": w}, x, {"scale": 3.0}).sum(), w)
    np.testing.assert_allclose(gradient["one.weight"], ad.grad(lambda w: 3.0 * (x @ w.T @ w.T).sum())(w))


def test_strict_asks_for_every_name_and_several_dicts_are_one():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).eval()
    buffers, parameters = dict(model.named_buffers()), dict(model.named_parameters())
    x = np.ones((1, 2), "float32")
    np.testing.assert_array_equal(nn.functional_call(model, [parameters, buffers], x, strict=True).data, model(x).data)
    with pytest.raises(KeyError, match=r"must be values for 1.running_mean, 1.running_var, 1.num_batches_tracked too"):
        nn.functional_call(model, parameters, x, strict=True)
    nn.functional_call(Tied(), {"one.weight": np.eye(2, dtype="float32")}, x, strict=True)


def test_batch_norm_writes_into_given_buffers_and_leaves_the_model_s_alone(rng):
    torch = pytest.importorskip("torch")
    layer, theirs = nn.BatchNorm1d(3).double(), torch.nn.BatchNorm1d(3).double()
    before = {k: v.numpy().copy() for k, v in layer.state_dict().items()}
    x, buffers = rng.normal(size=(4, 3)), {k: ad.Tensor(v.data.copy()) for k, v in layer.named_buffers()}
    others = {k: v.clone() for k, v in theirs.named_buffers()}
    nn.functional_call(layer, buffers, x), torch.func.functional_call(theirs, others, torch.tensor(x))
    for name, value in others.items():
        np.testing.assert_allclose(buffers[name].data, value.numpy(), rtol=1e-12)
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value.data, before[name])


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((nn.Linear, {}, 1.0), TypeError, "takes a module first, not type"),
        (
            (None, {"weigth": np.ones((2, 2))}),
            KeyError,
            "Linear has no parameter or buffer 'weigth'; did you mean 'weight",
        ),
        ((None, {"x": np.ones(2)}), KeyError, "no parameter or buffer 'x'; it has: weight, bias"),
        ((None, {"bias": np.ones(1)}), ValueError, r"bias has shape \(1,\), the Linear's \(2,\)"),
        ((None, {"bias": np.ones((3, 2))}), ValueError, r"has shape \(3, 2\).*several models at once: ad.vmap"),
        ((None, {"bias": "ab"}), TypeError, "bias takes a Tensor or an array of numbers .*dtype <U2 is refused"),
        ((None, [{"bias": np.ones(2)}, {"bias": np.ones(2)}]), ValueError, "bias stands in two of the dicts"),
        ((None, np.ones(2)), TypeError, "takes a dict of Tensors by name"),
        ((None, {}, (), [1]), TypeError, "kwargs is a dict of arguments by name, not list"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(arguments, error, message):
    layer = nn.Linear(2, 2)
    with pytest.raises(error, match=message):
        nn.functional_call(layer if arguments[0] is None else arguments[0], *arguments[1:])


def test_the_model_is_as_it_was_after_a_call_that_fails_and_in_other_threads():
    layer, x = nn.Linear(2, 2).double(), np.ones((3, 2))
    weight = layer.weight
    with pytest.raises(ValueError, match="Linear"):
        nn.functional_call(layer, {"weight": np.ones((2, 2))}, np.ones((3, 5)))
    assert layer.weight is weight and isinstance(weight, nn.Parameter)
    wrong = []

    def work(k):
        for _ in range(200):
            y = nn.functional_call(layer, {"weight": np.full((2, 2), k), "bias": np.zeros(2)}, x)
            if not (y.data == 2 * k).all():
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(float(k),)) for k in range(4)]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    assert not wrong and layer.weight is weight


def test_a_tensor_where_a_parameter_belongs_is_refused_with_what_to_write():
    layer = nn.Linear(2, 2)
    with pytest.raises(
        TypeError, match=r"Linear.weight is a parameter.*not Tensor \(write nn.Parameter.*functional_call"
    ):
        layer.weight = layer.weight - 0.1
    with pytest.raises(TypeError, match=r"not ndarray \(write nn.Parameter"):
        layer.weight = np.ones((2, 2))
