"""Initial values: their distributions against SciPy's and PyTorch's, their widths against the formulas."""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

import autodiff as ad
import nn
from nn import init
from tests.documents import ENTRIES

N = 40_000


def deviation_of(name, tensor, **options):
    """The empirical values of an initialiser, flat."""
    result = getattr(init, name)(tensor, rng=np.random.default_rng(0), **options)
    assert result is tensor
    return tensor.data.ravel()


def check_uniform(values, bound):
    assert np.abs(values).max() <= bound * (1 + 1e-6)
    assert scipy.stats.kstest(values, "uniform", (-bound, 2 * bound)).pvalue > 1e-3


def check_normal(values, std, mean=0.0):
    assert scipy.stats.kstest(values, "norm", (mean, std)).pvalue > 1e-3


WEIGHTS = [((100, 400), 400, 100), ((50, 20, 5, 8), 20 * 40, 50 * 40), ((80, 100, 5), 500, 400)]


@pytest.mark.parametrize("shape, fan_in, fan_out", WEIGHTS)
def test_widths_follow_from_the_fans_of_linear_and_convolution_weights(shape, fan_in, fan_out):
    w = nn.Parameter(np.empty(shape))
    assert w.dtype == np.float64
    check_uniform(deviation_of("xavier_uniform_", w, gain=2.0), 2 * math.sqrt(6 / (fan_in + fan_out)))
    check_normal(deviation_of("xavier_normal_", w), math.sqrt(2 / (fan_in + fan_out)))
    check_uniform(deviation_of("kaiming_uniform_", w, a=math.sqrt(5)), 1 / math.sqrt(fan_in))
    check_uniform(deviation_of("kaiming_uniform_", w, nonlinearity="relu"), math.sqrt(6 / fan_in))
    check_normal(deviation_of("kaiming_normal_", w, mode="fan_out", nonlinearity="tanh"), 5 / 3 / math.sqrt(fan_out))
    check_normal(deviation_of("kaiming_normal_", w), math.sqrt(2 / fan_in))
    check_normal(deviation_of("lecun_normal_", w), 1 / math.sqrt(fan_in))
    check_uniform(deviation_of("siren_", w), math.sqrt(6 / fan_in) / 30)
    check_uniform(deviation_of("siren_", w, w0=5.0), math.sqrt(6 / fan_in) / 5)
    check_uniform(deviation_of("siren_", w, first=True), 1 / fan_in)


@pytest.mark.parametrize(
    "name, options",
    [("xavier_uniform_", {}), ("xavier_normal_", {"gain": 1.5}), ("kaiming_uniform_", {"a": 0.3}),
     ("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "selu"}), ("uniform_", {"a": -1, "b": 3}),
     ("normal_", {"mean": 1.0, "std": 0.5}), ("trunc_normal_", {"mean": 0.3, "std": 1.5, "a": -1.0, "b": 0.5}),
     ("trunc_normal_", {}), ("trunc_normal_", {"a": 1.0, "b": 3.0})],
)  # fmt: skip
def test_distributions_are_pytorch_s(name, options):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = getattr(torch.nn.init, name)(torch.empty(100, 100, 4), **options).numpy().ravel()
    ours = deviation_of(name, nn.Parameter(np.empty((100, 100, 4), "float32")), **options)
    assert ours.dtype == np.float32
    assert scipy.stats.ks_2samp(ours, theirs).pvalue > 1e-3


def test_a_truncated_normal_is_exact_far_in_the_tails():
    for a, b in [(-9.0, -7.0), (7.0, 9.0), (20.0, 21.0), (-1.0, 1.0)]:
        values = deviation_of("trunc_normal_", nn.Parameter(np.empty(N)), a=a, b=b)
        assert values.min() >= a and values.max() <= b
        assert scipy.stats.kstest(values, scipy.stats.truncnorm(a, b).cdf).pvalue > 1e-3


def test_gains_are_pytorch_s():
    torch = pytest.importorskip("torch")
    for name in ["linear", "conv1d", "conv2d", "conv_transpose2d", "sigmoid", "tanh", "relu", "selu", "leaky_relu"]:
        assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name), rel=1e-15)
    assert init.calculate_gain("leaky_relu", 0.5) == pytest.approx(torch.nn.init.calculate_gain("leaky_relu", 0.5))


def test_constants_are_written():
    t = ad.Tensor(np.empty((2, 3), "float32"))
    assert init.zeros_(t).data.tolist() == [[0] * 3] * 2
    assert init.ones_(t).data.tolist() == [[1] * 3] * 2
    assert init.constant_(t, 0.5).data.tolist() == [[0.5] * 3] * 2
    assert init.eye_(t).data.tolist() == [[1, 0, 0], [0, 1, 0]]
    assert t.dtype == np.float32


@pytest.mark.parametrize("shape, groups", [((4, 3, 5), 1), ((4, 2, 3, 4), 2), ((2, 5, 3), 1), ((6, 2, 1, 2, 3), 3)])
def test_dirac_is_pytorch_s(shape, groups):
    torch = pytest.importorskip("torch")
    expected = torch.nn.init.dirac_(torch.ones(shape), groups).numpy()
    np.testing.assert_array_equal(init.dirac_(ad.Tensor(np.ones(shape)), groups).data, expected)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (2, 3, 4), (6, 1, 2)])
def test_orthogonal_rows_or_columns_are_orthonormal(shape):
    w = init.orthogonal_(nn.Parameter(np.empty(shape)), gain=2.0, rng=np.random.default_rng(0))
    m = w.data.reshape(shape[0], -1)
    product = m @ m.T if m.shape[0] <= m.shape[1] else m.T @ m
    np.testing.assert_allclose(product, 4 * np.eye(min(m.shape)), atol=1e-12)


def test_orthogonal_matrices_are_uniformly_distributed():
    rng = np.random.default_rng(0)
    corner = [init.orthogonal_(ad.Tensor(np.empty((3, 3))), rng=rng).data[0, 0] for _ in range(2000)]
    assert scipy.stats.kstest(corner, "uniform", (-1, 2)).pvalue > 1e-3  # an entry of a random rotation in 3-d


def test_the_documents_variances_are_reproduced():
    entry = ENTRIES["initialisation-variances"]
    fan_in, fan_out = entry["inputs"]["fan_in"], entry["inputs"]["fan_out"]
    expected = entry["expected"]
    assert expected["xavier_std"] ** 2 == pytest.approx(expected["xavier_variance"], rel=1e-14)
    assert expected["he_std"] ** 2 == pytest.approx(expected["he_variance"], rel=1e-14)
    for name, options, variance, bound in [
        ("lecun_normal_", {}, expected["one_over_n"], None),
        ("xavier_normal_", {}, expected["xavier_variance"], None),
        ("xavier_uniform_", {}, expected["xavier_variance"], expected["xavier_uniform_bound"]),
        ("kaiming_normal_", {"nonlinearity": "relu"}, expected["he_variance"], None),
        ("kaiming_uniform_", {"nonlinearity": "relu"}, expected["he_variance"], expected["he_uniform_bound"]),
    ]:
        values = np.concatenate([
            getattr(init, name)(nn.Parameter(np.empty((fan_out, fan_in))), rng=np.random.default_rng(i), **options).data
            for i in range(20)
        ])  # fmt: skip
        assert values.var() == pytest.approx(variance, rel=5 * math.sqrt(2 / values.size))
        if bound is not None:
            assert 0.999 * bound < np.abs(values).max() <= bound
    values = nn.Linear(fan_in, fan_out, rng=np.random.default_rng(0), dtype="float64").weight.data
    bound, variance = (expected[f"pytorch_linear_default_{key}"] for key in ("uniform_bound", "variance"))
    assert 0.99 * bound < np.abs(values).max() <= bound and values.var() == pytest.approx(variance, rel=0.05)


def test_the_documents_moments_of_activations_of_a_unit_normal_input_are_reproduced():
    expected = ENTRIES["initialisation-variances"]["expected"]

    def mean(function):  # over the standard normal distribution, in halves as ReLU has a kink
        weighted = lambda x: function(x) * scipy.stats.norm.pdf(x)
        return sum(scipy.integrate.quad(weighted, *part, epsabs=1e-13)[0] for part in [(-12, 0), (0, 12)])

    for name in ("relu", "tanh", "sigmoid"):
        value = lambda x, name=name: getattr(nn.functional, name)(x).item()
        slope = ad.grad(getattr(nn.functional, name))
        first, second = mean(value), mean(lambda x, value=value: value(x) ** 2)
        found = {"mean": first, "second_moment": second, "variance": second - first**2, "mean_derivative": mean(slope),
                 "mean_squared_derivative": mean(lambda x, slope=slope: slope(x) ** 2)}  # fmt: skip
        for key, number in expected[f"{name}_of_unit_normal"].items():
            assert found[key] == pytest.approx(number, rel=1e-9), (name, key)


def test_variance_is_kept_through_deep_networks_as_the_rules_promise():
    rng = np.random.default_rng(0)
    width, depth = 400, 15
    for rule, function, kept in [
        (lambda w: init.kaiming_normal_(w, nonlinearity="relu", rng=rng), ad.relu, lambda z: z.var()),
        (lambda w: init.lecun_normal_(w, rng=rng), lambda z: z, lambda z: z.var()),
        (lambda w: init.siren_(w, w0=1.0, rng=rng), np.sin, None),
    ]:
        h = ad.Tensor(rng.normal(size=(200, width)))
        for _ in range(depth):
            z = h @ rule(ad.Tensor(np.empty((width, width)))).T
            h = function(z)
        if kept is not None:
            assert 0.4 < kept(z).item() < 2.5
        else:  # sin of a normal of variance v has variance (1 − e^(−2v)) / 2, and v = 1 − e^(−2v) at 0.797
            assert z.data.var() == pytest.approx(0.797, rel=0.05)


def test_draws_come_from_the_given_generator_or_the_seeded_one():
    for name in ["uniform_", "normal_", "xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_",
                 "lecun_normal_", "orthogonal_", "trunc_normal_", "siren_"]:  # fmt: skip
        function = getattr(init, name)
        nn.manual_seed(3)
        seeded = function(ad.Tensor(np.empty((3, 2)))).data
        given = function(ad.Tensor(np.empty((3, 2))), rng=np.random.default_rng(3)).data
        np.testing.assert_array_equal(seeded, given)


def test_writes_are_seen_by_graphs_recorded_before_and_by_state_dicts():
    layer = nn.Linear(2, 1)
    state = layer.state_dict()
    y = layer(ad.Tensor(np.ones((1, 2), "float32"), requires_grad=True)) ** 2
    init.ones_(layer.weight)
    assert state["weight"].tolist() == [[1, 1]]
    with pytest.raises(RuntimeError, match="written or assigned"):
        y.sum().backward()


def test_empty_weights_stay_empty():
    for name in ["xavier_uniform_", "kaiming_normal_", "lecun_normal_", "orthogonal_", "siren_", "trunc_normal_"]:
        assert getattr(init, name)(ad.Tensor(np.empty((0, 0)))).shape == (0, 0)


def test_bad_arguments_are_refused_with_the_function_s_name():
    t, vector = ad.Tensor(np.empty((3, 2))), ad.Tensor(np.empty(3))
    x = ad.Tensor(np.ones((3, 2)), requires_grad=True)
    for call, kind, words in [
        (lambda: init.xavier_uniform_(vector), ValueError, r"xavier_uniform_.*\(3,\).*at least 2 axes"),
        (lambda: init.kaiming_normal_(vector), ValueError, "kaiming_normal_"),
        (lambda: init.orthogonal_(vector), ValueError, "orthogonal_"),
        (lambda: init.eye_(vector), ValueError, "eye_"),
        (lambda: init.dirac_(t), ValueError, "dirac_"),
        (lambda: init.dirac_(ad.Tensor(np.empty((3, 2, 1))), 2), ValueError, "2 groups"),
        (lambda: init.kaiming_uniform_(t, mode="fan"), ValueError, "kaiming_uniform_: mode.*'fan_in' or 'fan_out'"),
        (lambda: init.kaiming_uniform_(t, nonlinearity="gelu"), ValueError, "gelu"),
        (lambda: init.calculate_gain("tahn"), ValueError, "calculate_gain"),
        (lambda: init.uniform_(t, 2.0, 1.0), ValueError, "uniform_"),
        (lambda: init.normal_(t, 0.0, -1.0), ValueError, "normal_: std"),
        (lambda: init.trunc_normal_(t, a=2.0, b=1.0), ValueError, "trunc_normal_"),
        (lambda: init.siren_(t, w0=0), ValueError, "siren_"),
        (lambda: init.normal_(t, rng=0), TypeError, "Generator"),
        (lambda: init.zeros_(np.ones(3)), TypeError, "zeros_.*ndarray"),
        (lambda: init.zeros_(ad.Tensor([1, 2])), TypeError, "int64"),
        (lambda: init.zeros_(x * 2), RuntimeError, "result of multiply"),
    ]:
        with pytest.raises(kind, match=words):
            call()
