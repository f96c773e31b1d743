"""Losses against PyTorch, closed forms, finite differences and the documents' numbers."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import autodiff as ad
import nn
import nn.functional as F
from tests.against_torch import agrees_with_torch
from tests.documents import ENTRIES

REDUCTIONS = ["mean", "sum", "none"]


def constants(*arrays):
    """The same constants for both sides: arrays here, torch's tensors there."""
    import torch

    return arrays, [torch.tensor(a) for a in arrays]


def same_loss(name, free, *fixed, second=True, **options):
    """The class `name`, with options (arrays become tensors), on free inputs and fixed ones."""
    torch = pytest.importorskip("torch")
    ours, theirs = constants(*fixed)
    tensors = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    mine, judge = getattr(nn, name)(**options), getattr(torch.nn, name)(**tensors)
    agrees_with_torch(lambda *xs: mine(*xs, *ours), lambda *xs: judge(*xs, *theirs), *free, second=second)
    assert {k: v.shape for k, v in mine.state_dict().items()} == {
        k: tuple(v.shape) for k, v in judge.state_dict().items()
    }


def rng():
    return np.random.default_rng(0)


def plus_minus(shape):
    return rng().choice([-1.0, 1.0], shape)


# Real values


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (2, 3, 2)])
@pytest.mark.parametrize(
    "name, options",
    [
        ("MSELoss", {}),
        ("L1Loss", {}),
        ("HuberLoss", {}),
        ("HuberLoss", {"delta": 0.3}),
        ("SmoothL1Loss", {}),
        ("SmoothL1Loss", {"beta": 0.3}),
        ("SmoothL1Loss", {"beta": 0.0}),
        ("PoissonNLLLoss", {}),
        ("PoissonNLLLoss", {"full": True}),
        ("KLDivLoss", {"log_target": True}),
    ],
)
def test_losses_on_real_values_are_pytorch_s_for_input_and_target(name, options, shape, reduction):
    if name == "PoissonNLLLoss":
        counts = rng().integers(0, 5, shape).astype(float)
        same_loss(name, [rng().normal(size=shape)], counts, reduction=reduction, **options)
    else:
        free = [rng().normal(size=shape), rng().normal(size=shape)]
        same_loss(name, free, reduction=reduction, **options)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("var", [(3, 4), (3, 1), (3,)])
def test_gaussian_and_poisson_likelihoods_are_pytorch_s(var, full, reduction):
    v = rng().uniform(0.2, 2, var)
    v.flat[0] = 0.01  # below eps
    free = [rng().normal(size=(3, 4)), rng().normal(size=(3, 4)), v]
    same_loss("GaussianNLLLoss", free, full=full, eps=0.05, reduction=reduction)
    rates, counts = rng().uniform(0.1, 3, (3, 4)), rng().integers(0, 5, (3, 4)).astype(float)
    same_loss("PoissonNLLLoss", [rates], counts, log_input=False, full=full, reduction=reduction)


def test_gaussian_nll_takes_one_variance_for_all():
    x, t = rng().normal(size=(2, 3)), rng().normal(size=(2, 3))
    expected = 0.5 * (np.log(0.5) + (x - t) ** 2 / 0.5).mean()
    assert F.gaussian_nll_loss(x, t, 0.5).item() == pytest.approx(expected, rel=1e-12)


def test_at_the_corners_of_huber_s_loss_derivatives_are_pytorch_s():
    torch = pytest.importorskip("torch")
    x = np.array([-1.0, 0.0, 1.0, 0.4])
    t = torch.tensor(x, requires_grad=True)
    u = ad.Tensor(x, requires_grad=True)
    for ours, theirs in [
        (F.huber_loss, torch.nn.functional.huber_loss),
        (F.smooth_l1_loss, torch.nn.functional.smooth_l1_loss),
    ]:
        (d,) = ad.gradients(ours(u, np.zeros(4), reduction="sum"), u, create_graph=True)
        (e,) = torch.autograd.grad(theirs(t, torch.zeros(4).double(), reduction="sum"), t, create_graph=True)
        np.testing.assert_array_equal(d.data, e.detach().numpy())
        np.testing.assert_array_equal(ad.gradients(d.sum(), u)[0].data, torch.autograd.grad(e.sum(), t)[0].numpy())


# Classes


SHAPES = [((4,), ()), ((5, 4), (5,)), ((3, 4, 2), (3, 2)), ((2, 4, 2, 3), (2, 2, 3))]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("x, t", SHAPES)
def test_cross_entropy_and_nll_of_class_indices_are_pytorch_s(x, t, ignored, weighted, reduction):
    target = rng().integers(0, 4, t)
    options = {"reduction": reduction}
    if weighted:
        options["weight"] = np.array([0.5, 1.0, 2.0, 0.3])
    if ignored and t:
        target.flat[0] = 1
        target.flat[-1] = -100
        same_loss("NLLLoss", [rng().normal(size=x)], target, **options)
        same_loss("CrossEntropyLoss", [rng().normal(size=x)], target, **options)
        options["ignore_index"] = 1
        target.flat[-1] = 0
    for smoothing in [0.0, 0.2, 1.0]:
        same_loss("CrossEntropyLoss", [rng().normal(size=x)], target, label_smoothing=smoothing, **options)
    same_loss("NLLLoss", [rng().normal(size=x)], target, **options)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weight", [None, np.array([0.5, 1.0, 2.0, 0.3])])
@pytest.mark.parametrize("x", [(4,), (5, 4), (3, 4, 2)])
def test_cross_entropy_with_probabilities_is_pytorch_s(x, weight, reduction):
    p = rng().uniform(size=x)
    for smoothing in [0.0, 0.2]:
        same_loss("CrossEntropyLoss", [rng().normal(size=x), p], reduction=reduction, label_smoothing=smoothing,
                  **({} if weight is None else {"weight": weight}))  # fmt: skip


def test_plain_cross_entropy_is_one_fused_operation():
    x = ad.Tensor(rng().normal(size=(3, 4)), requires_grad=True)
    assert F.cross_entropy(x, [0, 1, 2], reduction="none").op == "cross_entropy"
    assert F.cross_entropy(x, np.full((3, 4), 0.25), reduction="none").op == "cross_entropy_with_probabilities"


def test_ignored_samples_add_exactly_nothing():
    for f, x in [(F.cross_entropy, [[1.0, 2.0], [1e4, -1e4]]), (F.nll_loss, [[1.0, 2.0], [np.inf, np.nan]])]:
        t = ad.Tensor(x, requires_grad=True)
        loss = f(t, [0, -100])
        loss.backward()
        assert loss.item() == f(np.array(x[:1]), [0]).item() and t.grad.tolist()[1] == [0.0, 0.0]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weight", [None, (4,), (3, 1), (3, 4)])
def test_binary_cross_entropies_are_pytorch_s(weight, reduction):
    x, t = rng().normal(size=(3, 4)), rng().uniform(size=(3, 4))
    options = {"reduction": reduction} | ({} if weight is None else {"weight": rng().uniform(size=weight)})
    same_loss("BCELoss", [rng().uniform(0.1, 0.9, (3, 4)), t], **options)
    same_loss("BCEWithLogitsLoss", [x, t], **options)
    same_loss("BCEWithLogitsLoss", [x, t], pos_weight=rng().uniform(0.5, 3, 4), **options)
    same_loss("BCEWithLogitsLoss", [x[0], t[0]], reduction=reduction)


def test_binary_cross_entropy_of_certain_predictions_is_cut_off_as_pytorch_s():
    torch = pytest.importorskip("torch")
    for dtype in ["float32", "float64"]:
        p, t = np.array([0, 0, 1, 1, 0.3], dtype), np.array([0, 1, 0, 1, 1], dtype)
        x, y = ad.Tensor(p, requires_grad=True), torch.tensor(p, requires_grad=True)
        loss, judge = F.binary_cross_entropy(x, t), torch.nn.functional.binary_cross_entropy(y, torch.tensor(t))
        loss.backward()
        judge.backward()
        assert loss.item() == pytest.approx(judge.item(), rel=1e-6)
        np.testing.assert_allclose(x.grad.data, y.grad.numpy(), rtol=1e-6)


@pytest.mark.parametrize("reduction", [*REDUCTIONS, "batchmean"])
@pytest.mark.parametrize("shape", [(3,), (3, 4), (2, 3, 2)])
def test_kullback_leibler_divergence_is_pytorch_s(shape, reduction):
    torch = pytest.importorskip("torch")
    q, p = np.log(rng().uniform(0.1, 1, shape)), rng().uniform(0.1, 1, shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, that "mean" is not the divergence
        same_loss("KLDivLoss", [q, p], reduction=reduction)
        same_loss("KLDivLoss", [q, np.log(p)], reduction=reduction, log_target=True)
    p[0] = 0.0
    ours, theirs = F.kl_div(q, p), torch.nn.functional.kl_div(torch.tensor(q), torch.tensor(p), reduction="mean")
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)


def test_impossible_outcomes_add_nothing_to_the_divergence():
    q = ad.Tensor([-np.inf, 0.0], requires_grad=True)
    loss = F.kl_div(q, [0.0, 1.0], reduction="sum")
    loss.backward()
    assert loss.item() == 0 and q.grad.tolist() == [0.0, -1.0]


def focal(p, alpha, gamma):
    return -alpha * (1 - p) ** gamma * np.log(p)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_focal_loss_is_its_formula_on_class_indices_and_on_binary_decisions(gamma):
    special = pytest.importorskip("scipy.special")
    x, t = rng().normal(size=(3, 4, 2)), rng().integers(0, 4, (3, 2))
    p = np.take_along_axis(special.softmax(x, 1), t[:, None], 1)[:, 0]
    found = F.focal_loss(x, t, 0.25, gamma, reduction="none").data
    np.testing.assert_allclose(found, focal(p, 0.25, gamma), rtol=1e-10)
    a = np.array([0.1, 0.2, 0.3, 0.4])
    found = nn.FocalLoss(a, gamma, reduction="sum")(x, t).item()
    assert found == pytest.approx(focal(p, a[t], gamma).sum(), rel=1e-10)
    hot = rng().integers(0, 2, x.shape).astype(float)
    p = special.expit(np.where(hot == 1, x, -x))
    np.testing.assert_allclose(F.focal_loss(x, hot, 0.25, gamma).item(), focal(p, 0.25, gamma).mean(), rtol=1e-10)
    pair = F.focal_loss(x, hot, [0.75, 0.25], gamma).item()
    assert pair == pytest.approx(focal(p, np.where(hot == 1, 0.25, 0.75), gamma).mean(), rel=1e-10)
    soft = rng().uniform(size=(3, 2))
    for f, z in [
        (lambda z: F.focal_loss(z, t, gamma=gamma), x),
        (lambda z: F.focal_loss(z, soft, gamma=gamma), x[:, 0]),
    ]:
        assert ad.gradcheck(f, z) and ad.gradgradcheck(f, z)


def test_focal_loss_without_focus_is_cross_entropy():
    x, t = rng().normal(size=(5, 3)), rng().integers(0, 3, 5)
    assert F.focal_loss(x, t, 1.0, 0.0).item() == pytest.approx(F.cross_entropy(x, t).item(), rel=1e-12)
    with np.errstate(all="raise"):
        soft = rng().uniform(size=(5, 3))
        bce = F.binary_cross_entropy_with_logits(x, soft).item()
        assert F.focal_loss(x, soft, 1.0, 0.0).item() == pytest.approx(bce, rel=1e-12)


# Margins


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_losses_with_margins_are_pytorch_s(reduction):
    a, b, c = rng().normal(size=(3, 6, 4))
    y = plus_minus((6, 4))
    same_loss("SoftMarginLoss", [a], y, reduction=reduction)
    for margin in [0.0, 0.5]:
        same_loss("MarginRankingLoss", [a, b], y, margin=margin, reduction=reduction)
        same_loss("CosineEmbeddingLoss", [a, b], y[:, 0], margin=margin, reduction=reduction)
        same_loss("CosineEmbeddingLoss", [a[0], b[0]], y[0, 0], margin=margin, reduction=reduction)
    for margin in [1.0, 0.5]:
        same_loss("HingeEmbeddingLoss", [a], y, margin=margin, reduction=reduction)
    for options in [{}, {"margin": 3.0}, {"p": 3.0}, {"p": 1.0}, {"swap": True, "margin": 2.0}, {"eps": 0.1}]:
        same_loss("TripletMarginLoss", [a, b, c], reduction=reduction, **options)
        same_loss("TripletMarginLoss", [a[0], b[0], c[0]], reduction=reduction, **options)


def test_where_a_margin_is_met_exactly_the_gradient_is_pytorch_s():
    torch = pytest.importorskip("torch")
    zero = np.zeros(2)
    for name, options, inputs in [
        ("MarginRankingLoss", {}, [zero, zero, np.ones(2)]),
        ("HingeEmbeddingLoss", {}, [np.ones(2), -np.ones(2)]),
        ("TripletMarginLoss", {"eps": 0.0, "margin": 1.0}, [np.array([[0.0, 0.0]]), np.array([[2.0, 0.0]]), np.array([[0.0, 3.0]])]),
    ]:  # fmt: skip
        x, t = ad.Tensor(inputs[0], requires_grad=True), torch.tensor(inputs[0], requires_grad=True)
        getattr(nn, name)(**options)(x, *inputs[1:]).backward()
        getattr(torch.nn, name)(**options)(t, *map(torch.tensor, inputs[1:])).backward()
        np.testing.assert_allclose(x.grad.data, t.grad.numpy(), atol=1e-15)
        assert x.grad.data.any()


def test_hinge_perceptron_and_contrastive_losses_are_their_formulas():
    x, t = rng().normal(size=(4, 3)), plus_minus((4, 3))
    np.testing.assert_allclose(F.hinge_loss(x, t, reduction="none").data, np.maximum(0, 1 - t * x))
    assert nn.HingeLoss(0.5, reduction="sum")(x, t).item() == pytest.approx(np.maximum(0, 0.5 - t * x).sum())
    np.testing.assert_allclose(F.perceptron_loss(x, t, reduction="none").data, np.maximum(0, -t * x))
    a, b, y = rng().normal(size=(2, 3)), rng().normal(size=(2, 3)), np.array([1.0, 0.0])
    b[0] = a[0] + 0.1
    b[1] = a[1] + 0.2
    d = np.linalg.norm(a - b, axis=1)
    expected = 0.5 * (y * d**2 + (1 - y) * np.maximum(0, 1.5 - d) ** 2)
    np.testing.assert_allclose(F.contrastive_loss(a, b, y, 1.5, reduction="none").data, expected, rtol=1e-12)
    assert nn.ContrastiveLoss(1.5)(a, b, [1, 0]).item() == pytest.approx(expected.mean(), rel=1e-12)

    def loss(u, v):
        return F.contrastive_loss(u, v, y, 1.5)

    assert ad.gradcheck(loss, [a, b]) and ad.gradgradcheck(loss, [a, b])
    u = ad.Tensor(a, requires_grad=True)
    (d,) = ad.gradients(F.contrastive_loss(u, a, y, reduction="sum"), u, create_graph=True)
    assert not d.data.any()  # equal vectors: gradient 0, and the Hessian of ½d² is 1
    assert ad.gradients(d[0].sum(), u)[0].tolist() == [[1.0] * 3, [0.0] * 3]


def test_at_zero_weights_the_perceptron_loss_moves():
    x = ad.Tensor([0.0, 0.0], requires_grad=True)
    F.perceptron_loss(x, [1, -1], reduction="sum").backward()
    assert x.grad.tolist() == [-1.0, 1.0]


# Images


def test_overlap_losses_are_taken_per_sample_and_then_reduced():
    p, t = rng().uniform(size=(3, 2, 4, 4)), rng().integers(0, 2, (3, 2, 4, 4))
    both, total = (p * t).sum((1, 2, 3)), p.sum((1, 2, 3)) + t.sum((1, 2, 3))
    for f, module, expected in [
        (F.dice_loss, nn.DiceLoss, 1 - (2 * both + 1) / (total + 1)),
        (F.iou_loss, nn.IoULoss, 1 - (both + 1) / (total - both + 1)),
    ]:
        np.testing.assert_allclose(f(p, t, reduction="none").data, expected, rtol=1e-12)
        assert f(p, t).item() == pytest.approx(expected.mean(), rel=1e-12)
        assert module(reduction="sum")(p, t).item() == pytest.approx(expected.sum(), rel=1e-12)
        assert f(np.zeros((2, 3)), np.zeros((2, 3))).item() == 0.0
        assert f(p[0, 0, 0], t[0, 0, 0], reduction="none").shape == ()
        small = 0.2 + 0.6 * p[:2, 0, :2]
        assert ad.gradcheck(lambda q: f(q, t[:2, 0, :2]), small) and ad.gradgradcheck(
            lambda q: f(q, t[:2, 0, :2]), small
        )


def test_total_variation_is_the_mean_of_the_differences_along_both_axes():
    x = rng().normal(size=(2, 3, 4, 5))
    per_image = np.abs(np.diff(x, axis=3)).mean((2, 3)) + np.abs(np.diff(x, axis=2)).mean((2, 3))
    np.testing.assert_allclose(F.total_variation_loss(x, reduction="none").data, per_image)
    whole = np.abs(np.diff(x, axis=3)).mean() + np.abs(np.diff(x, axis=2)).mean()
    assert nn.TotalVariationLoss()(x).item() == pytest.approx(whole, rel=1e-12)
    assert F.total_variation_loss(x[0, 0]).item() == pytest.approx(per_image[0, 0], rel=1e-12)
    assert F.total_variation_loss(x[:, :, :1]).item() == pytest.approx(np.abs(np.diff(x[:, :, :1], axis=3)).mean())
    assert F.total_variation_loss(np.ones((1, 1))).item() == 0.0
    assert ad.gradcheck(F.total_variation_loss, x[0])


def test_perceptual_loss_is_the_squared_error_of_features_and_reaches_the_image():
    features = nn.Sequential(nn.Linear(3, 4, dtype="float64"), nn.Tanh()).requires_grad_(False)
    loss = nn.PerceptualLoss(features)
    assert list(loss.state_dict()) == ["features.0.weight", "features.0.bias"]
    a, b = rng().normal(size=(2, 5, 3))
    x = ad.Tensor(a, requires_grad=True)
    y = loss(x, b)
    assert y.item() == pytest.approx(((features(a).data - features(b).data) ** 2).mean(), rel=1e-12)
    y.backward()
    assert x.grad.data.any() and features[0].weight.grad is None
    several = F.perceptual_loss(a, b, lambda z: [z, features(z)], reduction="sum").item()
    assert several == pytest.approx(
        ((a - b) ** 2).sum() + ((features(a).data - features(b).data) ** 2).sum(), rel=1e-12
    )


# The documents' numbers


def value_and_gradient(f, x):
    x = ad.Tensor(x, requires_grad=True)
    y = f(x)
    (d,) = ad.gradients(y, x, create_graph=True)
    return x, y.item(), d


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_the_documents_regression_losses():
    data = ENTRIES["regression-losses"]
    p, t, expected = data["inputs"]["prediction"], data["inputs"]["target"], data["expected"]
    for f, name in [(F.mse_loss, "mse"), (F.l1_loss, "mae")]:
        _, value, d = value_and_gradient(lambda x: f(x, t), p)
        close(value, expected[name])
        close(d.data, expected["d" + name])
    close(F.half_mse_loss(p, t, reduction="sum").item(), expected["half_squared_sum"])
    for delta, row in expected["by_delta"].items():
        _, value, d = value_and_gradient(lambda x: nn.HuberLoss(delta=float(delta))(x, t), p)
        close(value, row["huber"])
        close(d.data, row["dhuber"])
        close(nn.SmoothL1Loss(beta=float(delta))(np.array(p), t).item(), row["smooth_l1_with_beta"])


def test_the_documents_mean_and_sum_of_squares_and_half_squares():
    data = ENTRIES["mse-mae-sse"]
    t, y, expected = data["inputs"]["t"], data["inputs"]["y"], data["expected"]
    for f, name in [(nn.MSELoss(), "mse"), (nn.L1Loss(), "mae"), (nn.SSELoss(), "sse"), (F.sse_loss, "sse")]:
        _, value, d = value_and_gradient(lambda x: f(x, t), y)
        close(value, expected[name])
        close(d.data, expected[f"d{name}_dy"])
    close(ad.hessian(lambda x: F.mse_loss(x, t))(np.array(y)), expected["hessian_mse"])
    data = ENTRIES["error-measures"]
    yhat, y, expected = data["inputs"]["yhat"], data["inputs"]["y"], data["expected"]
    _, value, d = value_and_gradient(lambda x: nn.HalfMSELoss(reduction="sum")(x, y), yhat)
    close(value, expected["vector_loss_half_squared_norm"])
    close(d.data, expected["derivative"])
    close(F.half_mse_loss(np.array(yhat), y, reduction="none").data, expected["cost"])
    close(F.mse_loss(np.array(yhat), y).item(), expected["pytorch_mse_mean"])


def test_the_documents_cross_entropy_from_logits():
    data = ENTRIES["cross-entropy-from-logits"]
    x, t, expected = data["inputs"]["logits"], data["inputs"]["targets"], data["expected"]
    _, value, d = value_and_gradient(lambda z: nn.CrossEntropyLoss()(z, t), x)
    close(value, expected["loss"])
    close(d.data, expected["dlogits"])
    close(F.cross_entropy(np.array(x), t, reduction="none").data, expected["per_sample"])
    hessian = ad.hessian(lambda z: F.cross_entropy(z, t))(np.array(x))
    close([hessian[i, :, i] for i in range(3)], expected["hessian_blocks"])
    close(F.nll_loss(F.log_softmax(np.array(x), 1), t).item(), expected["loss"])
    data = ENTRIES["softmax-example-7"]
    for c, (loss, gradient) in enumerate(zip(data["expected"]["cce_by_class"], data["expected"]["gradient_by_class"])):
        _, value, d = value_and_gradient(lambda z: F.cross_entropy(z, c), data["inputs"]["a"])
        close(value, loss)
        close(d.data, gradient)


def test_the_documents_binary_cross_entropies():
    data = ENTRIES["bce-with-logits"]
    x, t, expected = data["inputs"]["logits"], data["inputs"]["targets"], data["expected"]
    z, value, d = value_and_gradient(lambda z: nn.BCEWithLogitsLoss()(z, t), x)
    close(value, expected["mean"])
    np.testing.assert_allclose(d.data, expected["dlogits"], rtol=1e-10)  # the saturated ones too
    close(ad.gradients(d.sum(), z)[0].data, expected["d2logits_diagonal"])
    per_element = F.binary_cross_entropy_with_logits(np.array(x), t, reduction="none").data
    np.testing.assert_allclose(per_element, expected["per_element"], rtol=1e-10)
    data = ENTRIES["binary-cross-entropy-example-6"]
    t, p, expected = data["inputs"]["t"], data["inputs"]["p"], data["expected"]
    _, value, d = value_and_gradient(lambda q: nn.BCELoss()(q, t), p)
    close(value, expected["loss_mean"])
    close(d.data, expected["dloss_dp_mean"])
    close(F.binary_cross_entropy(np.array(p), t, reduction="sum").item(), expected["loss_sum"])
    _, value, d = value_and_gradient(lambda z: nn.BCEWithLogitsLoss()(z, t), expected["logits"])
    close(value, expected["loss_mean"])
    close(d.data, expected["dloss_dlogit_mean"])


def test_the_documents_focal_loss():
    data = ENTRIES["focal-loss"]
    for row in data["expected"]["rows"]:
        p = row["p_t"]
        slope = p * (1 - p)  # dp/dz
        for target, z in [
            ([1.0], [np.log(p / (1 - p))]),
            ([0.0], [np.log((1 - p) / p)]),
            ([1], [[0.0, np.log(p / (1 - p))]]),
        ]:
            f = nn.FocalLoss(alpha=data["inputs"]["alpha"], gamma=row["gamma"])
            _, value, d = value_and_gradient(lambda x: f(x, target), z)
            close(value, row["loss"])
            close(d.data.ravel()[-1], row["dloss_dp"] * slope * (-1 if target == [0.0] else 1))


def test_the_documents_overlap_losses():
    data = ENTRIES["dice-and-iou-loss"]
    p, t, expected = data["inputs"]["prediction"], data["inputs"]["target"], data["expected"]
    for f, name in [(nn.DiceLoss(smooth=0.0), "dice"), (nn.IoULoss(smooth=0.0), "iou")]:
        _, value, d = value_and_gradient(lambda x: f(x, t), p)
        close(value, expected[name + "_loss"])
        close(d.data, expected["d" + name])
        hard = (np.array(p) > data["inputs"]["threshold"]).astype(float)
        close(1 - f(hard, t).item(), expected["hard_" + name])


def test_the_documents_kullback_leibler_divergence():
    data = ENTRIES["kl-divergence"]
    p, q, expected = np.array(data["inputs"]["P"]), np.array(data["inputs"]["Q"]), data["expected"]
    _, value, d = value_and_gradient(lambda z: F.kl_div(ad.log(z), p, reduction="sum"), q)
    close(value, expected["kl_P_Q"])
    close(d.data, expected["dkl_P_Q_dQ"])
    close(nn.KLDivLoss(reduction="batchmean")(np.log(p)[None], q[None]).item(), expected["kl_Q_P"])


def test_the_documents_perceptron_loss_and_gaussian_likelihood():
    data = ENTRIES["perceptron-loss-gradient"]
    inputs, expected = {k: np.array(v) for k, v in data["inputs"].items()}, data["expected"]
    _, value, d = value_and_gradient(
        lambda w: F.perceptron_loss(inputs["x"] @ w + inputs["w0"], inputs["t"], reduction="sum"), inputs["w"]
    )
    close(value, expected["D"])
    close(d.data, expected["dD_dw"])
    data = ENTRIES["gaussian-mle"]
    x, expected = np.array(data["inputs"]["x"]), data["expected"]
    mu, value, d = value_and_gradient(
        lambda m: F.gaussian_nll_loss(m * np.ones(4), x, 1.0, full=True, reduction="sum"), float(data["inputs"]["mu"])
    )
    close(-value, expected["log_likelihood_at_mu"])
    close(-d.item(), expected["d_dmu_at_mu"])
    close(-ad.gradients(d, mu)[0].item(), expected["d2_dmu2"])


# Stability, dtypes, nothing


FAR = np.array([-1e4, -1e3, -89.0, -0.0, 0.0, 89.0, 1e3, 1e4])
ON_LOGITS = {
    "cross-entropy": lambda x: F.cross_entropy(ad.stack([x, -x], axis=1), np.arange(8) % 2),
    "smoothed": lambda x: F.cross_entropy(ad.stack([x, -x], axis=1), np.arange(8) % 2, [1, 2], label_smoothing=0.1),
    "probabilities": lambda x: F.cross_entropy(ad.stack([x, -x], axis=1), np.full((8, 2), 0.5, x.dtype)),
    "bce": lambda x: F.binary_cross_entropy_with_logits(x, np.arange(8) % 2, pos_weight=3.0),
    "focal": lambda x: F.focal_loss(ad.stack([x, -x, 0 * x], axis=1), np.arange(8) % 3),
    "focal, small gamma": lambda x: F.focal_loss(ad.stack([x, -x], axis=1), np.arange(8) % 2, gamma=0.3),
    "binary focal": lambda x: F.focal_loss(x, (np.arange(8) % 2).astype(x.dtype), gamma=0.3),
    "soft margin": lambda x: F.soft_margin_loss(x, np.array([1, -1] * 4)),
    "huber": lambda x: F.huber_loss(x, np.zeros(8, int)),
    "smooth l1": lambda x: F.smooth_l1_loss(x, 0.0, beta=0.1),
    "mse": lambda x: F.mse_loss(x, 0.0),
    "kl": lambda x: F.kl_div(F.log_softmax(x, 0), np.full(8, 1 / 8, x.dtype)),
    "gaussian": lambda x: F.gaussian_nll_loss(x, np.zeros(8, int), 0.1),
    "triplet": lambda x: F.triplet_margin_loss(x, np.zeros(8, int), np.ones(8, int)),
    "cosine": lambda x: F.cosine_embedding_loss(x, np.ones(8, int), 1),
    "contrastive": lambda x: F.contrastive_loss(x, x.detach() + 1, 0),  # (equal vectors have no second derivative)
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ON_LOGITS)
def test_logits_far_out_give_finite_values_and_derivatives_in_their_own_dtype(name, dtype):
    x = ad.Tensor(FAR.astype(dtype), requires_grad=True)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y = ON_LOGITS[name](x)
        (d,) = ad.gradients(y, x, create_graph=True)
    (dd,) = ad.gradients((d * np.arange(1, 9).astype(dtype)).sum(), x, allow_unused=True)
    for t in [y, d] + ([] if dd is None else [dd]):
        assert np.isfinite(t.data).all() and t.dtype == dtype


def calls(n):
    """Every loss on a batch of n samples, as a function of the reduction: its free input is a float32 tensor."""
    x = ad.Tensor(np.full((n, 2, 3), 0.5, "float32"), requires_grad=True)
    same, ones = np.full((n, 2, 3), 0.25, "float32"), np.ones((n, 2, 3))
    index, signs = np.zeros((n, 3), int), np.ones((n, 2), int)
    return x, {
        "mse": lambda r: F.mse_loss(x, same, reduction=r),
        "half mse": lambda r: F.half_mse_loss(x, same, reduction=r),
        "l1": lambda r: F.l1_loss(x, same, reduction=r),
        "huber": lambda r: F.huber_loss(x, same, r),
        "smooth l1": lambda r: F.smooth_l1_loss(x, same, reduction=r),
        "gaussian": lambda r: F.gaussian_nll_loss(x, same, same, reduction=r),
        "poisson": lambda r: F.poisson_nll_loss(x, same, reduction=r),
        "kl": lambda r: F.kl_div(x, same, reduction=r),
        "bce": lambda r: F.binary_cross_entropy(x, same, ones, reduction=r),
        "bce with logits": lambda r: F.binary_cross_entropy_with_logits(x, same, ones, reduction=r),
        "cross-entropy": lambda r: F.cross_entropy(x, index, reduction=r),
        "weighted": lambda r: F.cross_entropy(x, index, [1.0, 1.0], reduction=r, label_smoothing=0.1),
        "probabilities": lambda r: F.cross_entropy(x, same, reduction=r),
        "nll": lambda r: F.nll_loss(x, index, reduction=r),
        "focal": lambda r: F.focal_loss(x, index, reduction=r),
        "binary focal": lambda r: F.focal_loss(x, same, reduction=r),
        "hinge": lambda r: F.hinge_loss(x, ones, reduction=r),
        "perceptron": lambda r: F.perceptron_loss(x, -ones.astype(int), reduction=r),
        "soft margin": lambda r: F.soft_margin_loss(x, ones.astype(int), reduction=r),
        "hinge embedding": lambda r: F.hinge_embedding_loss(x, -ones.astype(int), reduction=r),
        "ranking": lambda r: F.margin_ranking_loss(x, same, ones.astype(int), reduction=r),
        "cosine": lambda r: F.cosine_embedding_loss(x, same, signs, reduction=r),
        "triplet": lambda r: F.triplet_margin_loss(x, same, same, reduction=r),
        "contrastive": lambda r: F.contrastive_loss(x, same, signs, reduction=r),
        "dice": lambda r: F.dice_loss(x, same, reduction=r),
        "iou": lambda r: F.iou_loss(x, same, reduction=r),
        "total variation": lambda r: F.total_variation_loss(x, reduction=r),
        "perceptual": lambda r: F.perceptual_loss(x, same, ad.tanh, reduction=r),
    }


@pytest.mark.parametrize("name", calls(2)[1])
def test_reductions_are_mean_and_sum_of_none_float32_stays_and_no_grad_records_nothing(name):
    x, losses = calls(2)
    loss = losses[name]
    values = loss("none")
    assert loss("mean").item() == pytest.approx(values.data.mean(), rel=1e-5)
    assert loss("sum").item() == pytest.approx(values.data.sum(), rel=1e-5)
    if name not in ("bce", "bce with logits", "hinge"):  # given float64 targets or weights
        assert loss("mean").dtype == np.float32
    loss("mean").backward()
    assert x.grad.dtype == np.float32 and x.grad.shape == x.shape and np.isfinite(x.grad.data).all()
    with ad.no_grad():
        assert not loss("mean").requires_grad
    with pytest.raises(ValueError, match=r"reduction.*'avg'"):
        loss("avg")


@pytest.mark.parametrize("name", calls(0)[1])
def test_the_mean_over_nothing_is_nan_with_a_warning_and_the_sum_is_zero(name):
    x, losses = calls(0)
    assert losses[name]("none").size == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        total = losses[name]("sum")
        total.backward()
    assert total.item() == 0 and x.grad.shape == x.shape
    with pytest.warns(RuntimeWarning, match="mean over nothing is NaN"):
        mean = losses[name]("mean")
    assert np.isnan(mean.item())
    mean.backward()


def test_the_mean_over_ignored_samples_only_is_nan_with_a_warning_and_gradient_zero():
    x = ad.Tensor(np.zeros((2, 3)), requires_grad=True)
    for f in [F.cross_entropy, F.nll_loss]:
        with pytest.warns(RuntimeWarning, match="over nothing"):
            loss = f(x, [-100, -100])
        assert np.isnan(loss.item()) and f(x, [-100, -100], reduction="sum").item() == 0
        assert not ad.gradients(loss, x)[0].data.any()
    with pytest.warns(RuntimeWarning, match="over nothing"):
        assert np.isnan(F.kl_div(np.zeros((0, 3)), np.zeros((0, 3)), reduction="batchmean").item())


@settings(max_examples=40)
@given(
    hnp.arrays(np.float64, hnp.array_shapes(min_dims=0, max_dims=3, max_side=4), elements=st.floats(-30, 30)),
    st.sampled_from(
        ["mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss", "binary_cross_entropy_with_logits", "kl_div"]
    ),
)
def test_elementwise_losses_take_any_shape_and_refuse_what_would_broadcast(x, name):
    f = getattr(F, name)
    target = np.full(x.shape, 0.5)
    assert f(x, target, reduction="none").shape == x.shape
    with pytest.raises(ValueError, match=f"{name}: input has shape"):
        f(x, target[None])


# Bad input, representation


NAN = float("nan")
ONES = np.ones((4, 3))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name, options", [("mse_loss", {}), ("l1_loss", {}), ("huber_loss", {"delta": 0.7})])
def test_losses_on_real_values_take_pytorch_s_weights(name, options, reduction):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, t, w = rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), rng.uniform(0, 2, (4, 3))
    theirs = getattr(torch.nn.functional, name)
    agrees_with_torch(
        lambda x, t: getattr(F, name)(x, t, weight=w, reduction=reduction, **options),
        lambda x, t: theirs(x, t, weight=torch.tensor(w), reduction=reduction, **options),
        x, t,
    )  # fmt: skip
    assert getattr(F, name)(x.astype("f"), t.astype("f"), weight=w, reduction=reduction).dtype == np.float32


def test_a_mean_over_weights_of_sum_zero_is_nan_with_a_warning():
    for loss in (F.mse_loss, F.l1_loss):
        with pytest.warns(RuntimeWarning, match="mean over nothing is NaN"):
            assert np.isnan(loss(np.ones(3), np.ones(3), weight=np.zeros(3)).item())


@pytest.mark.parametrize(
    "call, kind, words",
    [
        (lambda: F.mse_loss(ONES, np.ones((4, 1))), ValueError, r"mse_loss: input has shape \(4, 3\), target \(4, 1\)"),
        (lambda: F.mse_loss(ONES.astype(int), ONES), TypeError, "mse_loss: got input of"),
        (lambda: F.l1_loss(1.0, ONES), ValueError, "l1_loss"),
        (lambda: F.mse_loss(ONES, None), TypeError, "got None where a Tensor is expected"),
        (lambda: F.mse_loss(ONES, ONES, weight=np.ones(4)), ValueError, r"mse_loss: weight of shape \(4,\)"),
        (lambda: F.huber_loss(ONES, ONES, weight=np.ones((4, 3, 1))), ValueError, "huber_loss: weight of shape"),
        (lambda: nn.MSELoss(reduction=None), ValueError, "MSELoss: reduction is 'mean', 'sum' or 'none', not None"),
        (lambda: nn.HuberLoss(delta=0.0), ValueError, "HuberLoss: delta is greater than 0"),
        (lambda: nn.SmoothL1Loss(beta=-1.0), ValueError, "SmoothL1Loss: beta"),
        (lambda: F.gaussian_nll_loss(ONES, ONES, np.ones((3, 4))), ValueError, "var has shape"),
        (lambda: F.gaussian_nll_loss(ONES, ONES, -ONES), ValueError, "negative"),
        (lambda: nn.GaussianNLLLoss(eps=0.0), ValueError, "GaussianNLLLoss: eps"),
        (lambda: F.poisson_nll_loss(ONES, np.ones(4)), ValueError, "poisson_nll_loss"),
        (lambda: F.cross_entropy(ONES, [0, 1, 2, 3]), ValueError, r"cross_entropy: class indices must be in 0 … 2"),
        (lambda: F.cross_entropy(ONES, [0, 1, 2, -1]), ValueError, "class indices"),
        (lambda: F.cross_entropy(ONES, [0, 1, -100, 3]), ValueError, "class indices must be in 0 … 2, got 0 … 3"),
        (lambda: F.cross_entropy(ONES, [0, 1]), ValueError, "cross_entropy"),
        (lambda: F.cross_entropy(ONES, [0, -100]), ValueError, r"cross_entropy: target of shape \(2,\)"),
        (lambda: F.cross_entropy(ONES, np.ones(4)), ValueError, "probabilities"),
        (lambda: F.cross_entropy(ONES, np.ones(4, bool)), TypeError, "cross_entropy: target"),
        (lambda: F.cross_entropy(ONES, [0] * 4, np.ones(2)), ValueError, r"weight has shape \(2,\); 3 classes"),
        (lambda: F.cross_entropy(ONES, [0] * 4, label_smoothing=1.5), ValueError, "label_smoothing"),
        (lambda: F.cross_entropy(ONES, [0] * 4, ad.Tensor(np.ones(3), requires_grad=True)), TypeError, "detach"),
        (lambda: nn.CrossEntropyLoss(label_smoothing=-0.1), ValueError, "CrossEntropyLoss: label_smoothing"),
        (lambda: F.nll_loss(ONES, np.zeros(4)), TypeError, "nll_loss: target is class indices"),
        (lambda: F.nll_loss(ONES, [3] * 4), ValueError, "nll_loss: class indices"),
        (lambda: F.nll_loss(1.0, 0), ValueError, "nll_loss: needs input"),
        (lambda: F.binary_cross_entropy(ONES * 1.1, ONES), ValueError, r"input has values in 1.1 … 1.1, expects prob"),
        (lambda: F.binary_cross_entropy(ONES * NAN, ONES), ValueError, "nan"),
        (lambda: F.binary_cross_entropy(ONES, -ONES), ValueError, "binary_cross_entropy: target"),
        (lambda: F.binary_cross_entropy(ONES, ONES, np.ones((2, 4, 3))), ValueError, "weight of shape"),
        (lambda: F.binary_cross_entropy(ONES, ONES, np.ones(4)), ValueError, "weight of shape"),
        (lambda: F.binary_cross_entropy_with_logits(ONES, ONES[0]), ValueError, "input has shape"),
        (lambda: F.binary_cross_entropy_with_logits(ONES, ONES, pos_weight=np.ones(4)), ValueError, "pos_weight"),
        (lambda: nn.KLDivLoss(reduction="max"), ValueError, "'mean', 'batchmean', 'sum' or 'none'"),
        (lambda: nn.MSELoss(reduction="batchmean"), ValueError, "batchmean"),
        (lambda: F.focal_loss(ONES, [0, 1, 2, 3]), ValueError, "focal_loss: class indices"),
        (lambda: F.focal_loss(ONES, np.ones((4, 3), int)), ValueError, r"focal_loss: target of shape \(4, 3\)"),
        (lambda: F.focal_loss(ONES, 2 * ONES), ValueError, "focal_loss: target has values"),
        (lambda: F.focal_loss(ONES, [0] * 4, np.ones(2)), ValueError, "focal_loss: alpha"),
        (lambda: F.focal_loss(ONES, ONES, np.ones(3)), ValueError, "focal_loss: alpha"),
        (lambda: F.focal_loss(np.ones((4, 1)), [0] * 4), ValueError, "two classes"),
        (lambda: nn.FocalLoss(gamma=-1.0), ValueError, "FocalLoss: gamma"),
        (lambda: F.hinge_loss(ONES, 0 * ONES), ValueError, r"hinge_loss: target has values other than 1 and -1"),
        (lambda: F.soft_margin_loss(ONES, 2 * ONES), ValueError, "2.0"),
        (lambda: F.margin_ranking_loss(ONES, ONES[0], ONES), ValueError, r"margin_ranking_loss: input1 has .*, input2 \("),
        (lambda: F.margin_ranking_loss(ONES, ONES, ONES[0]), ValueError, r"margin_ranking_loss: input1 has .*, target \("),
        (lambda: F.cosine_embedding_loss(ONES, ONES[0], [1]), ValueError, r"cosine_embedding_loss: input1 has .*, input2"),
        (lambda: F.triplet_margin_loss(ONES, ONES[0], ONES), ValueError, r"anchor has shape \(4, 3\), positive \(3,\)"),
        (lambda: F.triplet_margin_loss(ONES, ONES, ONES[0]), ValueError, r"anchor has shape \(4, 3\), negative \(3,\)"),
        (lambda: F.margin_ranking_loss(ONES, ONES, np.ones(4)), ValueError, "margin_ranking_loss"),
        (lambda: F.cosine_embedding_loss(ONES, ONES, ONES), ValueError, r"cosine_embedding_loss: needs vectors"),
        (lambda: F.cosine_embedding_loss(ONES, ONES, [0] * 4), ValueError, "1 and -1"),
        (lambda: nn.CosineEmbeddingLoss(margin=2.0), ValueError, "CosineEmbeddingLoss: margin"),
        (lambda: nn.TripletMarginLoss(margin=0.0), ValueError, "TripletMarginLoss: margin"),
        (lambda: F.triplet_margin_loss(ONES, ONES, ONES[0]), ValueError, "triplet_margin_loss"),
        (lambda: F.triplet_margin_loss(1.0, 1.0, 1.0), ValueError, "vectors"),
        (lambda: F.contrastive_loss(ONES, ONES, [2] * 4), ValueError, "contrastive_loss: target"),
        (lambda: F.dice_loss(2 * ONES, ONES), ValueError, "dice_loss: input has values"),
        (lambda: F.iou_loss(ONES, np.ones((4, 1))), ValueError, "iou_loss"),
        (lambda: nn.DiceLoss(smooth=-1.0), ValueError, "DiceLoss: smooth"),
        (lambda: F.total_variation_loss(np.ones(3)), ValueError, "total_variation_loss: needs images"),
        (lambda: nn.PerceptualLoss(3), TypeError, "PerceptualLoss: features"),
    ],
)  # fmt: skip
def test_bad_targets_shapes_and_options_are_named(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


def test_representations_show_what_is_not_the_default():
    assert repr(nn.CrossEntropyLoss()) == "CrossEntropyLoss()"
    shown = repr(nn.CrossEntropyLoss([1.0, 2.0], reduction="sum", label_smoothing=0.1))
    assert shown == "CrossEntropyLoss(weight=Tensor(2,), reduction='sum', label_smoothing=0.1)"
    assert repr(nn.TripletMarginLoss(2.0, swap=True)) == "TripletMarginLoss(margin=2.0, swap=True)"
    assert repr(nn.SSELoss()) == "SSELoss()"


def test_an_ignored_index_does_not_go_with_probabilities_as_in_pytorch():
    torch = pytest.importorskip("torch")
    logits, p = rng().normal(size=(5, 4)), rng().uniform(size=(5, 4))
    with pytest.raises(RuntimeError, match="ignore_index is not supported for floating point target"):
        torch.nn.CrossEntropyLoss(ignore_index=1)(torch.tensor(logits), torch.tensor(p))
    for index in (1, -1):
        with pytest.raises(ValueError, match=f"ignore_index={index} is a class index, the target holds probabilities"):
            nn.CrossEntropyLoss(ignore_index=index)(logits, p)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(4,), (5, 4), (1, 1)])
@pytest.mark.parametrize(
    "options", [{}, {"p": 2}, {"margin": 0.3}, {"p": 2, "weight": np.array([1.0, 0.5, 2.0, 0.0])}], ids=str
)
def test_the_multi_margin_loss_is_pytorch_s_and_its_second_derivatives_are_right(options, shape, reduction):
    if "weight" in options:
        options = options | {"weight": options["weight"][: shape[-1]]}
    target = rng().integers(0, shape[-1], shape[:-1])
    x = rng().normal(size=shape)
    same_loss("MultiMarginLoss", [x], target, second=False, **options, reduction=reduction)
    assert ad.gradgradcheck(lambda x: F.multi_margin_loss(x, target, **options, reduction=reduction), (x,))


def test_the_multi_margin_loss_of_no_samples_is_empty_and_its_errors_say_what_is_right():
    x = np.ones((3, 2))
    assert F.multi_margin_loss(x[:0], np.zeros(0, int), reduction="none").shape == (0,)
    for error, message, call in [
        (ValueError, "MultiMarginLoss: p is 1 or 2, not 3", lambda: nn.MultiMarginLoss(3)),
        (ValueError, "multi_margin_loss: p is 1 or 2, not True", lambda: F.multi_margin_loss(x, [0, 1, 0], p=True)),
        (ValueError, r"multi_margin_loss: class indices must be in 0 … 1, got 0 … 2", lambda: F.multi_margin_loss(x, [0, 1, 2])),
        (ValueError, r"multi_margin_loss: weight has shape \(3,\)", lambda: F.multi_margin_loss(x, [0, 1, 1], weight=[1.0] * 3)),
        (ValueError, r"expects \(classes,\) or \(N, classes\)", lambda: F.multi_margin_loss(x[None], [[0, 1, 1]])),
    ]:  # fmt: skip
        with pytest.raises(error, match=message):
            call()


def test_the_log_squared_loss_is_its_formula_in_every_derivative():
    torch = pytest.importorskip("torch")
    d = np.array([-3.0, -1.0, -0.2, 0.0, 1e-8, 0.5, 1.0, 4.0])
    agrees_with_torch(
        lambda x: nn.LogSquaredLoss(reduction="none")(x, d * 0), lambda x: torch.log1p(x**2), d
    )  # fmt: skip
    assert ad.gradgradcheck(lambda x, t: F.log_squared_loss(x, t), (d[:3], d[1:4] + 0.1))


def test_the_log_squared_loss_does_not_overflow():
    x = ad.Tensor([1e200, -1e300], requires_grad=True)
    y = F.log_squared_loss(x, [0.0, 0.0], reduction="none")
    np.testing.assert_allclose(y.data, 2 * np.log([1e200, 1e300]), rtol=1e-14)
    np.testing.assert_allclose(ad.gradients(y.sum(), [x])[0].data, [2e-200, -2e-300], rtol=1e-12)


@pytest.mark.parametrize(
    "loss", [nn.CrossEntropyLoss, nn.NLLLoss, nn.FocalLoss, lambda w: nn.MultiMarginLoss(weight=w)]
)
def test_weights_of_classes_are_those_of_each_example_s_target_in_vmap(loss):
    x, t = np.random.default_rng(0).normal(size=(5, 3)), np.array([2, 0, 1, 2, 1])
    criterion = loss([1.0, 2.0, 0.5])
    found = ad.vmap(lambda x, t: criterion(x[None], t[None]))(x, t)
    np.testing.assert_allclose(found, [float(criterion(x[i : i + 1], t[i : i + 1])) for i in range(5)], rtol=1e-12)
