"""What the mean of a loss divides by, and curvature summed over batches of unequal counts; against torch and formulas."""

import numpy as np
import pytest

import autodiff as ad
import nn
from autodiff.averaging import counted
from autodiff.curvature import Fisher, GaussNewton, Hessian, quadratic_model

LABELS = np.array([0, 2, -1, -1, -1, 1, 2, -1, 0, 1])
WEIGHT = np.array([1.0, 0.25, 3.0])
CRITERIA = {
    "ignored": dict(ignore_index=-1),
    "weighted": dict(ignore_index=-1, weight=WEIGHT),
    "smoothed": dict(ignore_index=-1, weight=WEIGHT, label_smoothing=0.2),
}


@pytest.fixture(params=CRITERIA)
def setting(request):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(10, 4)), ad.Tensor(rng.normal(size=(4, 3)), requires_grad=True)
    batches = [(x[a:b], LABELS[a:b]) for a, b in ((0, 2), (2, 5), (5, 6), (6, 10))]  # the second counts nothing
    return x, w, batches, CRITERIA[request.param]


def torch_hessian(x, w, options):
    torch = pytest.importorskip("torch")
    options = {k: torch.tensor(v) if k == "weight" else v for k, v in options.items()}
    criterion = torch.nn.CrossEntropyLoss(**options)
    f = lambda flat: criterion(torch.tensor(x) @ flat.reshape(4, 3), torch.tensor(LABELS))
    return torch.autograd.functional.hessian(f, torch.tensor(w.data.reshape(-1))).numpy()


@pytest.mark.filterwarnings("error")
def test_batches_of_unequal_counts_give_the_hessian_of_all_data_in_torch(setting):
    x, w, batches, options = setting
    criterion, expected = nn.CrossEntropyLoss(**options), torch_hessian(x, w, options)

    class Loss:
        def __call__(self, x, t):
            return criterion(x @ w, t)

        def count(self, x, t):
            return criterion.count(t)

    by_option = dict(batches=batches, count=lambda x, t: criterion.count(t))
    for H in (
        Hessian(Loss(), w, batches=batches),
        Hessian(lambda x, t: criterion(x @ w, t), w, **by_option),
        GaussNewton(lambda x, t: x @ w, lambda z, x, t: criterion(z, t), w, **by_option),  # linear: equal
        quadratic_model(lambda x, t: criterion(x @ w, t), w, **by_option).curvature,
    ):
        np.testing.assert_allclose(H.to_dense(), expected, rtol=1e-9, atol=1e-12)
        assert H.value == pytest.approx(criterion(x @ w, LABELS).item(), rel=1e-12)
        (slope,) = ad.gradients(criterion(x @ w, LABELS), w)
        np.testing.assert_allclose(H.gradient, slope.data.ravel(), rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("error")
def test_an_empirical_fisher_is_the_mean_over_what_counts_whatever_the_batches(setting):
    x, w, batches, options = setting
    criterion = nn.CrossEntropyLoss(**options)
    (kept,) = np.nonzero(LABELS >= 0)
    class_weight = options.get("weight", np.ones(3))
    total = class_weight[LABELS[kept]].sum()
    single = nn.CrossEntropyLoss(**{**options, "reduction": "sum"})
    expected = np.zeros((12, 12))
    for n in kept:
        (g,) = ad.gradients(single(x[n : n + 1] @ w, LABELS[n : n + 1]), w)
        expected += np.outer(g.data, g.data) / total
    how = dict(kind="empirical", targets=lambda x, t: t)
    for F in (
        Fisher(lambda x, t: x @ w, criterion, w, batches=[(x, LABELS)], **how),
        Fisher(lambda x, t: x @ w, criterion, w, batches=batches, **how),
        Fisher(lambda x, t: x @ w, lambda z, x, t: criterion(z, t), w, kind="empirical", batches=batches,
               count=lambda x, t: criterion.count(t)),
        Fisher(lambda: x @ w, criterion, w, kind="empirical", targets=LABELS),
    ):  # fmt: skip
        np.testing.assert_allclose(F.to_dense(), expected, rtol=1e-9, atol=1e-12)


def test_a_fisher_weighs_sequences_of_unequal_lengths_by_their_steps():
    rng = np.random.default_rng(0)
    w = ad.Tensor(rng.normal(size=(4, 3)), requires_grad=True)
    short, long = rng.normal(size=(2, 1, 4)), rng.normal(size=(2, 5, 4))
    F = Fisher(lambda x: x @ w, None, w, batches=[(short,), (long,)])
    rows = np.concatenate([short.reshape(-1, 4), long.reshape(-1, 4)])
    np.testing.assert_allclose(F.to_dense(), Fisher(lambda: rows @ w, None, w).to_dense(), rtol=1e-12)


@pytest.mark.parametrize("kind", [nn.CrossEntropyLoss, nn.NLLLoss])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_the_sum_divided_by_the_count_is_the_mean(kind, weight):
    rng = np.random.default_rng(0)
    for shape in ((), (6,), (4, 5)):
        logits = rng.normal(size=shape[:1] + (3,) + shape[1:])
        target = rng.integers(0, 3, shape)
        if target.ndim:
            target.flat[1] = -1
        mean, total = (kind(weight, ignore_index=-1, reduction=r) for r in ("mean", "sum"))
        assert mean.count(target) * mean(logits, target).item() == pytest.approx(total(logits, target).item())
        assert total.count(target) is None
    assert kind(weight, ignore_index=-1).count([-1, -1]) == 0


def test_probabilities_count_by_samples():
    criterion, total = nn.CrossEntropyLoss(WEIGHT), nn.CrossEntropyLoss(WEIGHT, reduction="sum")
    rng = np.random.default_rng(0)
    for shape in ((3,), (5, 3), (5, 3, 2)):
        logits, target = rng.normal(size=shape), rng.uniform(size=shape)
        assert criterion.count(target) * criterion(logits, target).item() == pytest.approx(total(logits, target).item())


def test_a_count_that_is_no_number_from_0_is_refused():
    for wrong, error in (("3", TypeError), (True, TypeError), (-1.0, ValueError), (np.nan, ValueError)):
        with pytest.raises(error, match="count of a loss"):
            counted(lambda *_: wrong)
    assert counted(None) is None and counted(lambda t: None, 0) is None
    w = ad.Tensor([1.0], requires_grad=True)
    with pytest.raises(TypeError, match="function of a batch"):
        Hessian(lambda x: (x * w).sum(), w, batches=[(np.ones(1),)], count=3)
    with pytest.raises(ValueError, match="no samples that count"):
        Hessian(lambda x: (x * w).sum(), w, batches=[(np.ones(1),)], count=lambda x: 0) @ [1.0]
