"""Penalties on weights: closed forms, PyTorch's gradients, the documents' numbers, and which weights they reach."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import autodiff as ad
import nn
from tests.against_torch import agrees_with_torch
from tests.documents import ENTRIES


def layer_of(weight, bias=False):
    """A linear layer with these weights (a vector is one row)."""
    weight = np.atleast_2d(np.array(weight, float))
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias, dtype="float64")
    layer.weight.data = weight
    return layer


def network():
    data = ENTRIES["lp-penalty-on-network"]["inputs"]
    w1, w2, w3 = (layer_of(data[k], bias=True) for k in ["W1", "W2", "W3"])
    return nn.Sequential(w1, nn.Tanh(), w2, nn.Tanh(), w3)


def test_the_documents_penalties_for_all_exponents():
    data = ENTRIES["lp-penalty-gradients"]
    strength = data["inputs"]["lambda"]
    for row in data["expected"]["rows"]:
        layer, p = layer_of(data["inputs"]["w"]), row["p"]
        value = nn.penalty.lp(layer, p, strength / p)
        (d,) = ad.gradients(value, layer.weight, create_graph=True)
        (h,) = ad.gradients(d.sum(), layer.weight, allow_unused=True)
        h = np.zeros(4) if h is None else h.data[0]
        assert value.item() == pytest.approx(row["penalty"], rel=1e-12)
        for found, wanted in [(d.data[0], row["gradient"]), (h, row["hessian_diagonal"])]:
            known = [v is not None for v in wanted]
            np.testing.assert_allclose(found[known], np.array(wanted, float)[known], rtol=1e-10, atol=1e-15)
            assert np.isfinite(found).all()


def test_the_documents_penalty_on_a_network_leaves_biases_alone():
    data = ENTRIES["lp-penalty-on-network"]
    model, expected, p = network(), data["expected"], data["inputs"]["p"]
    value = nn.penalty.lp(model, p, data["inputs"]["lambda"] / p)
    value.backward()
    assert value.item() == pytest.approx(expected["penalty"], rel=1e-12)
    assert nn.penalty.lp(model, p).item() == pytest.approx(expected["sum_abs_cubed"], rel=1e-12)
    for layer, name in zip([model[0], model[2], model[4]], ["dW1", "dW2", "dW3"]):
        np.testing.assert_allclose(layer.weight.grad.data, expected[name], rtol=1e-10)
        assert layer.bias.grad is None


def test_the_documents_layer_wise_penalties_follow_a_rescaling_of_the_layers():
    data, c = ENTRIES["hidden-rescaling-symmetry"], 2
    inputs, expected = data["inputs"], data["expected"]
    original = nn.Sequential(layer_of([inputs["W1"]]), nn.ReLU(), layer_of([inputs["W2"]]))
    rescaled = nn.Sequential(layer_of([inputs["W1"] * c]), nn.ReLU(), layer_of([inputs["W2"] / c]))
    x = np.array(inputs["x"], float)[:, None]
    np.testing.assert_allclose(original(x).data, rescaled(x).data)
    half = inputs["lambda"] / 2
    assert nn.penalty.l2(original, half).item() == expected["penalty_original"]
    assert nn.penalty.l2(rescaled, half).item() == expected["penalty_rescaled"]
    layer_wise = nn.penalty.l2(rescaled, {"0": half / c**2, "2": half * c**2}).item()
    assert layer_wise == expected["penalty_rescaled_with_layerwise_lambda_quarter_and_4"]


@given(st.sampled_from([0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0]), st.integers(0, 4), st.integers(1, 4), st.integers(0, 99))
def test_values_gradients_and_second_derivatives_are_pytorch_s_away_from_zero(p, rows, columns, seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    w = rng.uniform(0.3, 2, (rows, columns)) * rng.choice([-1, 1], (rows, columns))

    agrees_with_torch(lambda v: nn.penalty._power(v, p=p).sum(), lambda v: torch.abs(v).pow(p).sum(), w)
    layer = layer_of(w) if rows else nn.Linear(columns, 0, dtype="float64")
    value = nn.penalty.lp(layer, p, 0.7)
    assert value.item() == pytest.approx(0.7 * (np.abs(w) ** p).sum(), rel=1e-12)
    value.backward()
    expected = 0.7 * p * np.abs(w) ** (p - 1) * np.sign(w)
    np.testing.assert_allclose(layer.weight.grad.data, expected, rtol=1e-12)


def test_l1_and_l2_are_lp_of_one_and_two():
    model = network()
    assert nn.penalty.l1(model, 0.3).item() == pytest.approx(nn.penalty.lp(model, 1, 0.3).item(), rel=1e-14)
    assert nn.penalty.l2(model, 0.3).item() == pytest.approx(nn.penalty.lp(model, 2, 0.3).item(), rel=1e-14)
    weights = [p.data for name, p in model.named_parameters() if name.endswith("weight")]
    assert nn.penalty.l2(model).item() == pytest.approx(sum((w**2).sum() for w in weights), rel=1e-14)
    nn.penalty.l2(model, 0.5).backward()
    np.testing.assert_allclose(model[0].weight.grad.data, model[0].weight.data)  # 2 · ½ w


def test_zero_weights_have_gradient_zero_and_finite_derivatives_of_any_order():
    for p in [0.5, 1, 1.5, 2, 3, 4]:
        layer = layer_of([0.0, 1.0])
        with np.errstate(all="raise"):
            d = nn.penalty.lp(layer, p)
            for _ in range(4):
                (d,) = ad.gradients(d.sum(), layer.weight, create_graph=True, allow_unused=True)
                if d is None:
                    break
                assert np.isfinite(d.data).all()
                if not d.requires_grad:
                    break


def test_norms_embeddings_and_other_layers_are_left_out_and_shared_weights_count_once():
    class Odd(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter(np.full((2, 2), 7.0))
            self.inner = layer_of([1.0, 2.0], bias=True)
            self.same = self.inner
            self.tied = nn.Linear(2, 1, bias=False, dtype="float64")
            self.tied.weight = self.inner.weight
            self.slope = nn.PReLU(dtype="float64")

    assert nn.penalty.l2(Odd()).item() == 5.0
    for name, arguments in [("BatchNorm1d", (3,)), ("LayerNorm", (3,)), ("Embedding", (4, 2)), ("LSTM", (2, 3))]:
        if hasattr(nn, name):
            assert nn.penalty.l1(getattr(nn, name)(*arguments)).item() == 0.0


@pytest.mark.parametrize(
    "name, arguments",
    [("Conv1d", (2, 3, 2)), ("Conv2d", (2, 3, 2)), ("ConvTranspose1d", (2, 3, 2)), ("ConvTranspose2d", (2, 3, 2)),
     ("Bilinear", (2, 3, 2))],
)  # fmt: skip
def test_convolutions_and_bilinear_layers_are_penalised(name, arguments):
    layer = getattr(nn, name)(*arguments)
    assert nn.penalty.l1(layer).item() == pytest.approx(np.abs(layer.weight.data).sum(), rel=1e-6)
    assert nn.penalty.l1(nn.Sequential(layer)).item() == nn.penalty.l1(layer).item()


def test_a_layer_derived_from_ours_is_penalised_and_a_stranger_of_that_name_is_not():
    class Mine(nn.Linear):
        pass

    class Linear(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter(np.ones(3))

    assert nn.penalty.l1(Mine(2, 1)).item() > 0 and nn.penalty.l1(Linear()).item() == 0


def test_strengths_may_be_tensors_and_carry_gradients():
    model, coef = network(), ad.Tensor(0.5, requires_grad=True)
    nn.penalty.l1(model, coef).backward()
    assert coef.grad.item() == pytest.approx(nn.penalty.l1(model).item(), rel=1e-14)
    other = ad.Tensor(0.5, requires_grad=True)
    nn.penalty.l1(model, {"2.weight": other}).backward()
    assert other.grad.item() == pytest.approx(np.abs(model[2].weight.data).sum(), rel=1e-14)


def test_float32_stays_float32_and_a_penalty_adds_to_a_loss():
    model = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1))
    for value in [nn.penalty.l1(model, 0.1), nn.penalty.l2(model, 0.1), nn.penalty.lp(model, 1.5, {"0": 0.1, "2": 1})]:
        assert value.dtype == np.float32 and value.shape == ()
    loss = nn.MSELoss()(model(np.ones((4, 3), "float32")), np.zeros((4, 1), "float32")) + nn.penalty.l2(model, 0.1)
    loss.backward()
    assert model[0].weight.grad.dtype == np.float32
    with ad.no_grad():
        assert not nn.penalty.l2(model).requires_grad


def test_names_of_a_dict_are_those_of_layers_or_their_weights():
    model = network()
    by_layer = nn.penalty.l1(model, {"0": 1.0, "4": 2.0}).item()
    assert by_layer == nn.penalty.l1(model, {"0.weight": 1.0, "4.weight": 2.0}).item()
    assert by_layer == pytest.approx(np.abs(model[0].weight.data).sum() + 2 * np.abs(model[4].weight.data).sum())
    assert nn.penalty.l1(model[0], {"weight": 3.0}).item() == pytest.approx(3 * nn.penalty.l1(model[0]).item())
    assert nn.penalty.l1(model, {}).item() == 0.0


@pytest.mark.parametrize(
    "call, kind, words",
    [
        (lambda: nn.penalty.l1(np.ones(3)), TypeError, "penalty.l1: takes a Module, not ndarray"),
        (lambda: nn.penalty.l2(network(), "a"), TypeError, "penalty.l2: coef is a number"),
        (lambda: nn.penalty.l2(nn.Tanh(), "a"), TypeError, "penalty.l2: coef is a number"),
        (lambda: nn.penalty.l2(network(), {"0": None}), TypeError, "coef of '0'"),
        (lambda: nn.penalty.l2(network(), {"1": 1.0}), ValueError, r"coef names '1'.*\['0', '2', '4'\]"),
        (lambda: nn.penalty.l2(network(), {"0.bias": 1.0}), ValueError, "0.bias"),
        (lambda: nn.penalty.lp(network(), 0), ValueError, "penalty.lp: p is greater than 0"),
        (lambda: nn.penalty.lp(network(), None), TypeError, "penalty.lp: p is a number"),
    ],
)
def test_bad_models_strengths_and_exponents_are_named(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


def test_a_vision_transformer_s_patch_embedding_is_penalised_as_the_convolution_that_it_is():
    model = nn.VisionTransformer(4, 2, 1, 1, 4, 6, num_classes=3)
    weights = [p for name, p in model.named_parameters()
               if name.endswith("weight") and "ln" not in name and "in_proj" not in name]  # fmt: skip
    assert any(p is model.conv_proj.weight for p in weights)
    assert nn.penalty.l2(model).item() == pytest.approx(sum((p.data**2).sum() for p in weights), rel=1e-6)
