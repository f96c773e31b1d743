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


@pytest.fixture
def plt():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


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
        (dict(minimum=1.0), ValueError, "minimum"),
        (dict(f=3), TypeError, "function of x and y, not 3"),
        (dict(f=lambda x, y: 1.0), TypeError, "one element, not float"),
        (dict(f=lambda x, y: ad.stack([x, y])), TypeError, r"one element, not one of shape \(2,\)"),
    ],
)
def test_bad_input_is_refused(change, error, message):
    arguments = dict(f=bowl, starts=(1, 1), optimizers={"SGD": MAKERS["SGD"]}, steps=3) | change
    with pytest.raises(error, match=message):
        optim.compare(**arguments)
