"""The documents' counting and averaging arguments, each number from a model, a library or an integral of its own."""

import itertools

import numpy as np
import pytest
import scipy.integrate
from sklearn.preprocessing import PolynomialFeatures

import autodiff as ad
import nn
import nn.functional as F
import optim
from tests.documents import ENTRIES


def example(entry):
    return ENTRIES[entry]["inputs"], ENTRIES[entry]["expected"]


def approx(expected):
    return pytest.approx(expected, rel=1e-10, abs=1e-12)


# Sizes of models and of what they are given


def test_a_network_of_sines_has_the_documents_number_of_parameters():
    given, expected = example("sine-network-size")
    count = lambda model: sum(p.size for p in model.parameters())
    n, hidden, m = given["layers"]
    assert count(nn.MLP(given["layers"], nn.Sine(1.0))) == expected["with_output_bias"]
    without = nn.Sequential(nn.Linear(n, hidden), nn.Sine(1.0), nn.Linear(hidden, m, bias=False))
    assert count(without) == nn.summary(without, np.zeros((1, n))).parameters == expected["without_output_bias"]


def test_an_image_has_as_many_dimensions_as_its_flattened_pixels():
    given, expected = example("image-dimension")
    size = given["height"], given["width"]
    assert nn.Flatten()(np.zeros((1, 1, *size))).shape == (1, expected["grayscale"])
    assert nn.Flatten()(np.zeros((1, 3, *size))).shape == (1, expected["rgb"])


def test_a_polynomial_has_scikit_learn_s_number_of_coefficients_and_a_full_tensor_more():
    given, expected = example("polynomial-coefficient-counts")
    for n, row in zip(given["D"], expected["rows"], strict=True):
        features = PolynomialFeatures(given["M"]).fit(np.zeros((1, n)))
        assert (row["D"], row["M"]) == (n, given["M"])
        assert features.n_output_features_ == row["independent_coefficients"]
        assert np.broadcast_to(0.0, (n,) * given["M"]).size == row["D_to_the_M"]


def test_a_grid_has_as_many_cells_as_the_number_of_its_last_one_says():
    given, expected = example("grid-cells")
    for dimensions, cells in zip(given["D"], expected["cells"], strict=True):
        last, shape = (given["K"] - 1,) * dimensions, (given["K"],) * dimensions
        assert np.ravel_multi_index(last, shape) + 1 == cells


def test_the_volume_of_a_ball_lies_in_its_shell():
    given, expected = example("hypersphere-shell-fraction")
    for eps, fractions in zip(given["eps"], expected["fraction"], strict=True):
        for n, fraction in zip(given["D"], fractions, strict=True):
            surface = lambda r, n=n: n * r ** (n - 1)  # of the sphere of radius r, the unit ball having volume 1
            assert scipy.integrate.quad(surface, 1 - eps, 1, epsabs=1e-13)[0] == approx(fraction)


# Averages and sums


def test_the_squared_error_is_squared_bias_variance_and_noise():
    given, expected = example("bias-variance-decomposition")
    predictions, truth = np.array(given["predictions"]), given["truth"]
    noise = np.sqrt(given["noise_variance"]) * np.array([-1.0, 1.0])
    bias = predictions.mean() - truth
    variance = F.mse_loss(predictions, np.full(3, predictions.mean())).item()
    drawn = np.array(list(itertools.product(predictions, truth + noise)))  # each predictor, each measurement
    error = F.mse_loss(drawn[:, 0], drawn[:, 1]).item()
    found = {"bias": bias, "bias_squared": bias**2, "variance": variance, "expected_squared_error": error,
             "sum": bias**2 + variance + given["noise_variance"]}  # fmt: skip
    assert found == approx(expected) and error == approx(found["sum"])


def test_a_linear_recurrent_cell_adds_up_discounted_rewards():
    given, expected = example("discounted-return")
    cell = nn.RNNCell(1, 1, bias=False, nonlinearity="relu", dtype="float64")
    nn.init.constant_(cell.weight_ih, 1.0), nn.init.constant_(cell.weight_hh, given["gamma"])
    value, returns = np.zeros((1, 1)), []
    for _ in range(400):
        value = cell(np.full((1, 1), float(given["r"])), value)
        returns.append(value.item())
    assert returns[9] == approx(expected["first_10_terms"]) and returns[-1] == approx(expected["limit"])


# Sequences


def test_a_linear_layer_without_bias_predicts_an_autoregressive_series():
    given, expected = example("ar3-temperature")
    model = nn.Linear(3, 1, bias=False, dtype="float64").requires_grad_(False)
    model.load_state_dict({"weight": np.array([given["coefficients"]])})
    assert model(np.array(given["last_three_newest_first"], float)).item() == approx(expected["prediction"])
    assert model.weight.sum().item() == approx(expected["sum_of_coefficients"])
    state = ad.jacobian(lambda s: ad.concatenate([model(s), s[:2]]))(np.zeros(3))  # s: the last three, newest first
    roots = sorted(np.linalg.eigvals(state), key=lambda z: -abs(z))
    np.testing.assert_allclose(np.abs(roots), expected["root_moduli"], rtol=1e-10)
    np.testing.assert_allclose(np.real(roots), expected["roots_real"], rtol=1e-10)
    np.testing.assert_allclose(np.abs(np.imag(roots)), expected["roots_imaginary_absolute"], atol=1e-10)


def test_a_gradient_through_time_reaches_its_bound_where_every_step_is_steepest_and_never_exceeds_it():
    given, expected = example("recurrent-gradient-bound")
    rng = np.random.default_rng(0)
    for case, bounds in zip(given["cases"], expected["bound"], strict=True):
        function = getattr(F, case["activation"])
        for steps, bound in zip(given["steps"], bounds, strict=True):
            rest = function(0.0).item()  # h = f(w h + b) with w h + b = 0, where both functions are steepest

            def run(h, shifts, steps=steps, function=function, w=case["norm"]):
                for shift in shifts[:steps]:
                    h = function(w * h + shift)
                return h

            steepest = np.full(steps, -case["norm"] * rest)
            assert ad.grad(run)(rest, steepest) == approx(bound)
            assert 0 < ad.grad(run)(rest, steepest + rng.normal(size=steps)) < bound


# The exclusive or of a dense sample


def r_uniforms(seed, n):
    """What R's runif gives after set.seed: its Mersenne Twister is NumPy's, started in R's way."""
    state = []
    for i in range(50 + 625):
        seed = (69069 * seed + 1) % 2**32
        state.append(seed)
    generator = np.random.MT19937()
    generator.state = {"bit_generator": "MT19937", "state": {"key": np.array(state[51:], np.uint32), "pos": 624}}
    return generator.random_raw(n) * 2.3283064365386963e-10


def test_the_dense_xor_sample_is_r_s_and_needs_a_hidden_layer():
    given, expected = example("xor-dense-dataset")
    n = given["n"]
    x = r_uniforms(123, 2 * n).reshape(2, n)
    np.testing.assert_allclose(x, [expected["x1"], expected["x2"]], rtol=1e-12)
    labels = (x[0] <= 0.5) != (x[1] <= 0.5)
    assert labels.tolist() == [bool(y) for y in expected["y"]] and labels.sum() == expected["count_label_1"]

    inputs, targets = 4 * x.T - 2, labels[:, None].astype(float)
    right = {}
    for hidden in ([], [8]):
        model = nn.MLP([2, *hidden, 1], "tanh", dtype="float64", rng=np.random.default_rng(0))
        optimizer = optim.Adam(model.parameters(), lr=0.05)
        for _ in range(300):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(model(inputs), targets).backward()
            optimizer.step()
        right[len(hidden)] = ((model(inputs).data > 0) == labels[:, None]).mean()
    assert right[0] <= 0.75 and right[1] > 0.95
