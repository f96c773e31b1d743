"""Optimisers side by side: the paths are PyTorch's, the pictures show them, and divergence is told."""

import sys

import numpy as np
import pytest

import autodiff as ad
import optim


def bowl(x, y):
    return x**2 + 100 * y**2


def rosenbrock(x, y):
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


MAKERS = {
    "SGD": lambda p: optim.SGD(p, lr=1e-3),
    "momentum": lambda p: optim.SGD(p, lr=1e-3, momentum=0.9),
    "Nesterov": lambda p: optim.SGD(p, lr=1e-3, momentum=0.9, nesterov=True),
    "Adam": lambda p: optim.Adam(p, lr=0.1),
    "LBFGS": lambda p: optim.LBFGS(p, lr=0.5, max_iter=4, line_search_fn="strong_wolfe"),
}


@pytest.mark.parametrize("f", [bowl, rosenbrock])
@pytest.mark.parametrize("name", list(MAKERS))
def test_the_paths_are_those_of_torch(f, name):
    torch = pytest.importorskip("torch")
    starts = np.array([[-1.5, 2.0], [0.3, -0.7]])
    ours = optim.compare(f, starts, {name: MAKERS[name]}, steps=30)
    options = dict(MAKERS[name]([ad.Tensor(1.0, requires_grad=True)]).defaults)
    known = {
        "SGD": {"lr", "momentum", "nesterov"}, "Adam": {"lr", "betas", "eps"}, "LBFGS": {"lr", "max_iter", "line_search_fn"},
    }  # fmt: skip
    kind = name if name in known else "SGD"
    options = {k: v for k, v in options.items() if k in known[kind]}
    for start, path, values in zip(starts, ours.paths[name], ours.values[name]):
        p = torch.tensor(start, dtype=torch.float64, requires_grad=True)
        theirs = getattr(torch.optim, kind)([p], **options)

        def closure(p=p, theirs=theirs):
            theirs.zero_grad()
            value = f(p[0], p[1])
            value.backward()
            return value

        for point, value in zip(path, values):
            np.testing.assert_allclose(point, p.detach().numpy(), rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(value, f(*p.detach().numpy()), rtol=1e-7, atol=1e-15)
            theirs.step(closure)


def test_shapes_follow_the_starts():
    makers = {"SGD": MAKERS["SGD"]}
    for shape in [(2,), (3, 2), (2, 3, 2)]:
        result = optim.compare(bowl, np.ones(shape), makers, steps=4)
        assert result.paths["SGD"].shape == (*shape[:-1], 5, 2)
        assert result.values["SGD"].shape == (*shape[:-1], 5)


def test_each_run_has_an_optimiser_of_its_own():
    pair = optim.compare(bowl, [[1, 1], [1, 1]], {"momentum": MAKERS["momentum"]}, steps=20)
    assert (pair.paths["momentum"][0] == pair.paths["momentum"][1]).all()


def test_a_run_that_diverges_ends_and_the_table_says_so():
    makers = {"fast": lambda p: optim.SGD(p, lr=0.1), "slow": lambda p: optim.SGD(p, lr=0.001)}
    result = optim.compare(rosenbrock, (-1.5, 2), makers, steps=60, minimum=(1, 1))
    fast = result.values["fast"]
    broken = int(np.argmin(np.isfinite(fast)))
    assert 0 < broken < 60
    assert np.isnan(fast[broken + 1 :]).all()
    assert np.isfinite(result.values["slow"]).all()
    lines = str(result.table()).splitlines()
    assert f"diverged (step {broken})" in lines[2] and "diverged" not in lines[3]
    slow = result.paths["slow"][-1]
    assert lines[3].split()[-1] == f"{np.hypot(*(slow - 1)):.3g}"
    assert lines[3].split()[-2] == f"{slow[1]:.6g}"
    assert repr(result) == repr(result.table())


def test_the_table_names_the_lowest_value_and_its_step():
    result = optim.compare(bowl, (10, 1), {"m": lambda p: optim.SGD(p, lr=0.009, momentum=0.9)}, steps=50)
    values = result.values["m"]
    cells = str(result.table()).splitlines()[2].split()
    assert cells[3:6] == [f"{values[-1]:.6g}", f"{values.min():.6g}", str(values.argmin())]


def test_the_picture_has_contours_a_path_for_each_run_and_a_legend(plt, tmp_path):
    result = optim.compare(
        rosenbrock, [(-1.5, 2), (0, -1)], {n: MAKERS[n] for n in ("SGD", "Adam")}, 50, minimum=(1, 1)
    )
    ax = result.plot()
    assert len(ax.collections) >= 2  # filled contours and lines
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["minimum", "SGD", "Adam", "start"]
    drawn = [line.get_xydata() for line in ax.lines]
    for name in ("SGD", "Adam"):
        for path in result.paths[name]:
            assert any(d.shape == path.shape and (d == path).all() for d in drawn)
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    assert x0 < -1.5 < 1 < x1 and y0 < -1 < 2 < y1
    ax.figure.savefig(tmp_path / "paths.png")
    assert (tmp_path / "paths.png").stat().st_size > 10_000


def test_contour_levels_are_evenly_spaced_in_the_logarithm(plt):
    ax = optim.compare(bowl, (10, 1), {"SGD": MAKERS["SGD"]}, 50).plot(levels=10)
    levels = ax.collections[0].levels
    ratios = np.diff(levels)  # the filled contours are those of the logarithm
    assert len(levels) == 11
    np.testing.assert_allclose(ratios, ratios[0])
    np.testing.assert_allclose(np.log10(ax.collections[1].levels), levels)


def test_a_run_that_diverges_does_not_spoil_the_pictures(plt, tmp_path):
    makers = {"fast": lambda p: optim.SGD(p, lr=0.0105), "slow": lambda p: optim.SGD(p, lr=0.009)}
    result = optim.compare(bowl, (10, 1), makers, 100)
    ax = result.plot()
    assert ax.get_ylim()[1] < 3
    result.plot_values().figure.savefig(tmp_path / "values.png")
    assert plt.gca().get_ylim()[1] < 1000
    assert plt.gca().get_yscale() == "log"


def test_functions_that_take_numbers_only_or_are_negative_or_constant_are_drawn(plt, tmp_path):
    def numbers_only(x, y):
        return (x if float(x) > 0 else -x) + y**2

    for i, f in enumerate([numbers_only, lambda x, y: -ad.cos(x) - ad.cos(y), lambda x, y: 0 * x * y]):
        result = optim.compare(f, (1, 1), {"SGD": lambda p: optim.SGD(p, lr=0.1)}, 10)
        result.plot().figure.savefig(tmp_path / f"{i}.png")
        result.plot_values().figure.savefig(tmp_path / f"{i}v.png")


def test_given_axes_and_limits_are_used(plt):
    _, (left, right) = plt.subplots(1, 2)
    result = optim.compare(bowl, (10, 1), {"SGD": MAKERS["SGD"]}, 5)
    assert result.plot(ax=left, xlim=(-1, 2), ylim=(-3, 4)) is left
    assert left.get_xlim() == (-1, 2) and left.get_ylim() == (-3, 4)
    assert result.plot_values(ax=right) is right


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    result = optim.compare(bowl, (10, 1), {"SGD": MAKERS["SGD"]}, 5)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    for draw in (result.plot, result.plot_values):
        with pytest.raises(ImportError, match="pip install matplotlib"):
            draw()


@pytest.mark.parametrize(
    "change, error, message",
    [
        (dict(starts=1.0), ValueError, "starts"),
        (dict(starts=[1, 2, 3]), ValueError, "starts"),
        (dict(starts=[np.nan, 0]), ValueError, "starts"),
        (dict(optimizers={}), ValueError, "empty"),
        (dict(optimizers=[optim.SGD]), TypeError, "dict"),
        (
            dict(optimizers={"a": optim.SGD([ad.Tensor(1.0, requires_grad=True)])}),
            TypeError,
            r"lambda params: optim\.SGD",
        ),
        (dict(optimizers={"a": lambda p: None}), TypeError, r"optimizers\['a'\] must return an optimiser"),
        (dict(steps=0), ValueError, "steps"),
        (dict(steps=2.5), ValueError, "steps"),
        (dict(seed=-1), ValueError, "seed must be a whole number of at least 0, not -1"),
        (dict(minimum=1.0), ValueError, "minimum"),
        (dict(f=3), TypeError, "function of x and y, not 3"),
        (dict(f=lambda w: (w**2).sum()), TypeError, "compare: f is called as f.x, y., with one number"),
        (dict(f=lambda x, y: 1.0), TypeError, "one element, not float"),
        (dict(f=lambda x, y: ad.stack([x, y])), TypeError, r"one element, not one of shape \(2,\)"),
    ],
)
def test_bad_input_is_refused(change, error, message):
    arguments = dict(f=bowl, starts=(1, 1), optimizers={"SGD": MAKERS["SGD"]}, steps=3) | change
    with pytest.raises(error, match=message):
        optim.compare(**arguments)


def test_the_gradients_are_those_of_the_function_at_the_points():
    result = optim.compare(rosenbrock, [(-1.5, 2), (0, -1)], {n: MAKERS[n] for n in ("Adam", "LBFGS")}, 20)
    for name, path in result.paths.items():
        x, y = path[..., 0], path[..., 1]
        expected = np.stack([-2 * (1 - x) - 400 * x * (y - x**2), 200 * (y - x**2)], axis=-1)
        np.testing.assert_allclose(result.gradients[name], expected, rtol=1e-9, atol=1e-9)


def test_the_states_are_the_moments_of_adam_computed_by_hand():
    result = optim.compare(bowl, (10, 1), {"Adam": lambda p: optim.Adam(p, lr=0.1)}, steps=30)
    m = v = np.zeros(2)
    states = result.states["Adam"]
    assert np.isnan(states["exp_avg"][0]).all()
    for t, g in enumerate(result.gradients["Adam"][:30], 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        np.testing.assert_allclose(states["exp_avg"][t], m, rtol=1e-12)
        np.testing.assert_allclose(states["exp_avg_sq"][t], v, rtol=1e-12)


def test_a_radius_and_a_damping_that_the_optimiser_changes_are_recorded_and_constant_ones_are_not():
    makers = {"trust": lambda p: optim.NewtonCG(p, radius=0.5), "Newton": lambda p: optim.Newton(p, damping=0.1)}
    result = optim.compare(bowl, (10, 1), makers, steps=8)
    radius = result.states["trust"]["radius"]
    assert radius.shape == (9,) and radius[0] == 0.5 and radius[1] == 1.0
    assert "Newton" not in result.states


def test_the_step_sizes_are_the_distances_between_the_points():
    result = optim.compare(bowl, [(10, 1), (1, 1)], {"SGD": MAKERS["SGD"]}, steps=5)
    path = result.paths["SGD"]
    np.testing.assert_allclose(result.step_sizes["SGD"], np.hypot(*np.moveaxis(np.diff(path, axis=1), -1, 0)))


def test_the_table_row_by_row_holds_value_point_gradient_and_step_size():
    result = optim.compare(bowl, (10, 1), {"SGD": MAKERS["SGD"]}, steps=6)
    table = result.table(every=2)
    assert [row["step"] for row in table.rows] == [0, 2, 4, 6]
    row, path = table.rows[1], result.paths["SGD"]
    assert (row["x"], row["y"], row["f"]) == (*path[2], result.values["SGD"][2])
    assert (row["∂f/∂x"], row["∂f/∂y"]) == (2 * path[2, 0], 200 * path[2, 1])
    assert row["step size"] == pytest.approx(np.linalg.norm(path[2] - path[1])) and table.rows[0]["step size"] is None
    assert "<table" in table._repr_html_() and "∂f/∂x" in table._repr_html_()
    for method in (result.table, result.plot):
        with pytest.raises(ValueError, match="every must be a whole number of at least 1, not 0"):
            method(every=0)
    with pytest.raises(ValueError, match="levels must be a whole number of at least 1, not 0"):
        result.plot(levels=0)


def test_a_table_row_by_row_ends_where_a_run_ends():
    result = optim.compare(rosenbrock, (-1.5, 2), {"fast": lambda p: optim.SGD(p, lr=0.1)}, steps=60)
    broken = int(np.argmin(np.isfinite(result.values["fast"])))
    assert result.table(every=1).rows[-1]["step"] == broken


EVERY = {
    name: getattr(optim, name)
    for name in """SGD Adagrad Adadelta RMSprop Adam AdamW Adamax NAdam RAdam Rprop Lion LAMB LARS LBFGS Newton NewtonCG
    HessianFree""".split()
} | {
    "NaturalGradient": lambda p: optim.NaturalGradient(p, likelihood="gaussian"),
    "KFAC": lambda p: optim.KFAC(p, likelihood="gaussian"),
}


@pytest.mark.parametrize("name", EVERY)
def test_every_optimiser_is_accepted_and_does_not_ascend(name):
    values = optim.compare(bowl, (1.0, 1.0), {name: EVERY[name]}, steps=5).values[name]
    assert np.isfinite(values).all() and values[-1] < values[0]


def test_every_optimiser_of_the_package_is_among_those():
    kinds = {
        n for n in dir(optim) if isinstance(getattr(optim, n), type) and issubclass(getattr(optim, n), optim.Optimizer)
    }
    assert kinds - {"Optimizer"} == set(EVERY)


def test_hessian_free_on_a_function_without_an_output_has_the_hessian_as_its_gauss_newton_matrix():
    makers = {"HF": lambda p: optim.HessianFree(p, damping=0.5, cg_max=50, warm_start=0)}
    path = optim.compare(bowl, (10.0, 1.0), makers, steps=1).paths["HF"]
    step = -np.linalg.solve(np.diag([2.0, 200.0]) + 0.5 * np.eye(2), [20.0, 200.0])
    np.testing.assert_allclose(path[1] - path[0], step, rtol=1e-6)


def test_a_function_may_return_the_output_beside_its_value():
    def f(x, y):
        output = ad.stack([x * y, x - y])
        return output, (output**2).sum()

    makers = {"HF": optim.HessianFree, "SGD": lambda p: optim.SGD(p, lr=0.01)}
    result = optim.compare(f, (2.0, 1.0), makers, steps=3)
    assert result.values["HF"][0] == result.values["SGD"][0] == 5.0
    assert result.landscape((-1, 1), (0, 1)).values[0, -1] == 1.0


def test_the_natural_gradient_of_logits_that_are_none_is_refused():
    with pytest.raises(ValueError, match=r"let f return \(output, value\).*likelihood='gaussian'"):
        optim.compare(bowl, (1, 1), {"NG": optim.NaturalGradient}, steps=2)


def noisy(x, y, rng):
    a, b = rng.normal(size=2)
    return (x - a) ** 2 + 3 * (y - b) ** 2


def test_with_a_seed_all_optimisers_meet_the_same_noise_at_every_step_and_trial():
    makers = {
        "SGD": lambda p: optim.SGD(p, lr=0.1),
        "L-BFGS": lambda p: optim.LBFGS(p, max_iter=3),
        "Newton": optim.Newton,
    }
    result = optim.compare(noisy, [(3.0, 2.0), (0.0, 0.0)], makers, steps=12, seed=5)
    a, b = np.array([np.random.default_rng([5, t]).normal(size=2) for t in range(13)]).T
    for name, path in result.paths.items():
        x, y = path[..., 0], path[..., 1]
        np.testing.assert_allclose(result.values[name], (x - a) ** 2 + 3 * (y - b) ** 2, rtol=1e-9, atol=1e-12)
        slopes = np.stack([2 * (x - a), 6 * (y - b)], axis=-1)
        np.testing.assert_allclose(result.gradients[name], slopes, rtol=1e-9, atol=1e-9)
    # Newton's step on a quadratic ends in the minimum of the draw it saw
    np.testing.assert_allclose(result.paths["Newton"][0, 1:], np.stack([a, b], axis=-1)[:-1], atol=1e-9)


def test_contours_of_a_stochastic_function_are_means_over_draws():
    result = optim.compare(noisy, (3.0, 2.0), {"SGD": lambda p: optim.SGD(p, lr=0.1)}, steps=3, seed=0)
    seen = result.landscape((-1, 1), (-1, 1))
    a, b = np.array([np.random.default_rng([0, t]).normal(size=2) for t in range(32)]).T
    assert seen.values[0, 0] == pytest.approx(np.mean((-1 - a) ** 2 + 3 * (-1 - b) ** 2))


def test_a_function_that_draws_for_itself_is_recorded_as_the_optimiser_saw_it():
    rng, drawn = np.random.default_rng(0), []

    def own(x, y):
        drawn.append(rng.normal())
        return (x - drawn[-1]) ** 2 + y**2

    result = optim.compare(own, (3.0, 1.0), {"SGD": lambda p: optim.SGD(p, lr=0.1)}, steps=4)
    np.testing.assert_allclose(
        result.values["SGD"], (result.paths["SGD"][:, 0] - drawn) ** 2 + result.paths["SGD"][:, 1] ** 2
    )
    np.testing.assert_allclose(result.gradients["SGD"][:, 0], 2 * (result.paths["SGD"][:, 0] - drawn))


def test_a_second_order_run_that_meets_infinity_ends_there():
    def wall(x, y):
        return ad.where(x > 0.5, x**2 + y**2, np.inf)

    result = optim.compare(wall, (1.0, 0.0), {"Newton": lambda p: optim.Newton(p, line_search=False)}, steps=5)
    assert result.values["Newton"][0] == 1.0 and not np.isfinite(result.values["Newton"][1:]).any()


def test_one_lucky_value_does_not_squash_the_others(plt):
    result = optim.compare(bowl, (10, 1), {"SGD": lambda p: optim.SGD(p, lr=0.009)}, steps=100)
    result.values["SGD"][20] = 1e-27
    ax = result.plot_values()
    low, high = ax.get_ylim()
    others = np.delete(result.values["SGD"], 20)
    assert ax.get_yscale() == "log" and 0.1 * others.min() < low < others.min() and high > others.max()


def test_values_that_reach_exactly_zero_keep_the_logarithmic_scale(plt):
    result = optim.compare(rosenbrock, (-1.2, 1), {"Newton": optim.Newton, "SGD": MAKERS["SGD"]}, steps=40)
    assert result.values["Newton"][-1] == 0
    ax = result.plot_values()
    low, high = ax.get_ylim()
    assert ax.get_yscale() == "log" and 1e-17 < low < 1e-3 and 24 < high < 200


def test_lines_of_a_comparison_differ_by_dashes_and_markers_too(plt):
    result = optim.compare(bowl, (10, 1), MAKERS, steps=20)
    for ax in (result.plot(), result.plot_values(), result.plot_step_sizes()):
        lines = [line for line in ax.lines if line.get_label() in MAKERS]
        for of in ("get_color", "get_marker"):
            assert len({getattr(line, of)() for line in lines}) == len(MAKERS)
        assert len({str(line._unscaled_dash_pattern) for line in lines}) == len(MAKERS)


def test_contours_are_coloured(plt):
    ax = optim.compare(bowl, (10, 1), {"SGD": MAKERS["SGD"]}, 50).plot()
    faces = ax.collections[0].get_facecolor()
    assert np.ptp(faces[:, :3], axis=1).max() > 0.1  # grey has equal parts of red, green and blue


def test_the_states_are_drawn_one_in_each_of_the_axes(plt):
    result = optim.compare(bowl, [(10, 1), (1, 1)], {n: MAKERS[n] for n in ("SGD", "momentum", "Adam")}, 20)
    axes = result.plot_states(run=1)
    assert [ax.get_title() for ax in axes] == ["momentum: momentum_buffer", "Adam: exp_avg", "Adam: exp_avg_sq"]
    np.testing.assert_array_equal(axes[1].lines[1].get_ydata(), result.states["Adam"]["exp_avg"][1, :, 1])
    figure, mine = plt.subplots(1, 3)
    assert list(result.plot_states(ax=mine)) == list(mine)
    with pytest.raises(ValueError, match=r"ax takes 3 Axes here.*got 2"):
        result.plot_states(ax=mine[:2])
    with pytest.raises(ValueError, match="run is a number from 0 to 1, not 2"):
        result.plot_states(run=2)
    with pytest.raises(ValueError, match="none of SGD keeps a state"):
        optim.compare(bowl, (1, 1), {"SGD": MAKERS["SGD"]}, 3).plot_states()
