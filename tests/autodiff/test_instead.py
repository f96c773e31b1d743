"""What the errors say to write instead computes what the function computes, as the advice stands."""

import numpy as np
import pytest
import scipy.fft
import scipy.integrate
import scipy.interpolate
import scipy.linalg
import scipy.ndimage
import scipy.signal
import scipy.spatial.distance
import scipy.special
import scipy.stats

import autodiff as ad
from autodiff.leaving import INSTEAD

rng = np.random.default_rng(5)
T, U, M = rng.uniform(0.2, 2, 7), rng.uniform(0.2, 2, 7), rng.uniform(0.2, 2, (7, 4))
V = rng.normal(size=3)
A, B = M.T @ M + np.eye(4), np.diag(T[:4])
R = rng.normal(size=7) * 2

CASES = [
    ("np.frexp", lambda: np.frexp(R)[0], {"t": R}),
    ("np.union1d", lambda: np.union1d(T, U), {"t": T, "u": U}),
    *[(f"np.{f.__name__}", lambda f=f: f(T, T[::2] + (np.arange(4) % 2)), {"t": T, "u": T[::2] + (np.arange(4) % 2)})
      for f in (np.intersect1d, np.setdiff1d, np.setxor1d)],
    ("np.subtract.accumulate", lambda: np.subtract.accumulate(T), {"t": T}),
    ("np.subtract.reduce", lambda: np.subtract.reduce(T), {"t": T}),
    ("scipy.integrate.trapezoid", lambda: scipy.integrate.trapezoid(T, U), {"y": T, "x": U}),
    ("scipy.integrate.cumulative_trapezoid", lambda: scipy.integrate.cumulative_trapezoid(T, U), {"y": T, "x": U}),
    ("scipy.integrate.simpson", lambda: scipy.integrate.simpson(T, dx=0.3), {"y": T, "h": 0.3}),
    ("scipy.linalg.eigh", lambda: scipy.linalg.eigh(A)[0], {"a": A}),
    ("scipy.linalg.eigvalsh", lambda: scipy.linalg.eigvalsh(A), {"a": A}),
    ("scipy.linalg.circulant", lambda: scipy.linalg.circulant(T), {"t": T}),
    ("scipy.linalg.fractional_matrix_power", lambda: scipy.linalg.fractional_matrix_power(A, 0.3), {"a": A, "p": 0.3}),
    ("scipy.signal.detrend", lambda: scipy.signal.detrend(T), {"t": T}),
    ("scipy.spatial.distance.cdist", lambda: scipy.spatial.distance.cdist(M, A), {"a": M, "b": A}),
    ("scipy.spatial.distance.pdist", lambda: scipy.spatial.distance.pdist(M), {"a": M}),
    ("scipy.spatial.distance.euclidean", lambda: scipy.spatial.distance.euclidean(T, U), {"a": T, "b": U}),
    ("scipy.spatial.distance.cosine", lambda: scipy.spatial.distance.cosine(T, U), {"a": T, "b": U}),
    ("scipy.spatial.distance.cityblock", lambda: scipy.spatial.distance.cityblock(T, U), {"a": T, "b": U}),
    ("scipy.special.factorial", lambda: scipy.special.factorial(T), {"t": T}),
    ("scipy.special.exp10", lambda: scipy.special.exp10(T), {"t": T}),
    ("scipy.special.cosdg", lambda: scipy.special.cosdg(T), {"t": T}),
    ("scipy.special.sindg", lambda: scipy.special.sindg(T), {"t": T}),
    ("scipy.special.tandg", lambda: scipy.special.tandg(T), {"t": T}),
    ("scipy.special.poch", lambda: scipy.special.poch(T, 1.3), {"t": T, "m": 1.3}),
    ("scipy.special.binom", lambda: scipy.special.binom(3.5, T), {"t": T, "n": 3.5}),
    ("scipy.special.comb", lambda: scipy.special.comb(4, 2.5), {"t": np.array(2.5), "n": 4}),
    ("scipy.special.kn", lambda: scipy.special.kn(2, T), {"t": T, "n": 2}),
    ("scipy.special.gammainccinv", lambda: scipy.special.gammainccinv(0.7, T / 3), {"t": T / 3, "a": 0.7}),
    ("scipy.special.chdtr", lambda: scipy.special.chdtr(3.0, T), {"t": T, "v": 3.0}),
    ("scipy.special.chdtrc", lambda: scipy.special.chdtrc(3.0, T), {"t": T, "v": 3.0}),
    ("scipy.special.powm1", lambda: scipy.special.powm1(T, 0.3), {"t": T, "p": 0.3}),
    ("scipy.special.inv_boxcox1p", lambda: scipy.special.inv_boxcox1p(T, 0.3), {"t": T, "p": 0.3}),
    ("scipy.special.ellipk", lambda: scipy.special.ellipk(T / 3), {"t": T / 3}),
    ("scipy.special.ellipe", lambda: scipy.special.ellipe(T / 3), {"t": T / 3}),
    ("scipy.special.spherical_jn", lambda: scipy.special.spherical_jn(2, T), {"t": T, "n": 2}),
    *[(f"scipy.special.{f}", lambda f=f: getattr(scipy.special, f)(3, T), {"t": T, "n": 3})
      for f in ("eval_legendre", "eval_chebyt", "eval_hermite", "eval_hermitenorm", "eval_laguerre")],
    ("scipy.linalg.polar", lambda: scipy.linalg.polar(A + B)[0], {"a": A + B}),
    ("scipy.linalg.expm_frechet", lambda: scipy.linalg.expm_frechet(A / 9, B)[0], {"a": A / 9, "e": B}),
    ("scipy.linalg.cosm", lambda: scipy.linalg.cosm(A / 9), {"a": A / 9}),
    ("scipy.linalg.sinm", lambda: scipy.linalg.sinm(A / 9), {"a": A / 9}),
    ("scipy.linalg.solve_continuous_lyapunov", lambda: scipy.linalg.solve_continuous_lyapunov(A, B), {"a": A, "q": B}),
    ("scipy.linalg.solve_discrete_lyapunov", lambda: scipy.linalg.solve_discrete_lyapunov(A / 99, B),
     {"a": A / 99, "q": B}),
    ("scipy.linalg.eigh_tridiagonal", lambda: scipy.linalg.eigh_tridiagonal(T, U[1:])[0], {"t": T, "e": U[1:]}),
    ("scipy.linalg.khatri_rao", lambda: scipy.linalg.khatri_rao(M, A), {"a": M, "b": A}),
    ("scipy.linalg.companion", lambda: scipy.linalg.companion(T), {"t": T}),
    ("scipy.linalg.hankel", lambda: scipy.linalg.hankel(T), {"t": T}),
    *[(f"scipy.ndimage.{f}", lambda f=f: getattr(scipy.ndimage, f)(M, A[:3, :3] + A[:3, :3][::-1, ::-1]),
       {"t": M, "kernel": A[:3, :3] + A[:3, :3][::-1, ::-1], "r": 1}) for f in ("convolve", "correlate")],
    ("scipy.interpolate.interp1d", lambda: scipy.interpolate.interp1d(np.arange(7), T)([0.3, 2.5]),
     {"t": T, "xp": np.arange(7), "x": [0.3, 2.5]}),
    *[(f"scipy.interpolate.{f.__name__}", lambda f=f: f(np.arange(7), T)([0.3, 2.5]),
       {"t": T, "xp": np.arange(7), "x": [0.3, 2.5], "scipy": scipy})
      for f in (scipy.interpolate.CubicSpline, scipy.interpolate.make_interp_spline)],
    ("scipy.signal.savgol_filter", lambda: scipy.signal.savgol_filter(T, 5, 2, mode="nearest"),
     {"t": T, "r": 2, "order": 2, "scipy": scipy}),
    ("scipy.signal.freqz", lambda: scipy.signal.freqz(T, worN=U)[1], {"t": T, "w": U}),
    ("scipy.spatial.distance.sqeuclidean", lambda: scipy.spatial.distance.sqeuclidean(T, U), {"a": T, "b": U}),
    ("scipy.stats.pearsonr", lambda: scipy.stats.pearsonr(T, U)[0], {"t": T, "u": U}),
    ("scipy.stats.truncnorm.logpdf", lambda: scipy.stats.truncnorm.logpdf(T, -0.3, 2.5), {"t": T, "a": -0.3, "b": 2.5}),
    *[("scipy.stats." + f.__name__, lambda f=f, t=t: f(t), {"t": t})
      for f in (scipy.stats.zscore, scipy.stats.gmean, scipy.stats.hmean, scipy.stats.sem, scipy.stats.skew,
                scipy.stats.kurtosis, scipy.stats.entropy) for t in (T, M)],
]  # fmt: skip


@pytest.mark.parametrize(("name", "function", "names"), CASES, ids=[f"{i}-{c[0]}" for i, c in enumerate(CASES)])
def test_advice_computes_what_the_function_does_and_carries_the_gradient(name, function, names):
    advice = INSTEAD[name].split("; ")[0].split(", for ")[0]
    expression, _, definitions = advice.partition(" with ")
    names = {"np": np, "ad": ad, **{k: ad.Tensor(v, requires_grad=True) if k == "t" else v for k, v in names.items()}}
    for definition in filter(None, definitions.split(" and ")):
        exec(definition, names)
    found = eval(expression, names)
    found = found[0] if isinstance(found, tuple) else found
    np.testing.assert_allclose(
        found.detach().numpy() if isinstance(found, ad.Tensor) else found, function(), rtol=1e-7, atol=1e-9
    )
    if isinstance(names.get("t"), ad.Tensor):
        abs(found).sum().backward()
        assert np.isfinite(names["t"].grad.data).all()


@pytest.mark.parametrize("name", ["fft.dct", "linalg.expm", "signal.correlate", "special.logsumexp"])
def test_a_function_of_scipys_that_is_here_too_is_named(name):
    package, function = name.split(".")
    theirs = getattr(getattr(scipy, package), function)
    with pytest.raises(TypeError, match=rf"Write ad\.{package}\.{function}\(\.\.\.\), as SciPy's"):
        theirs(*[ad.Tensor(A, requires_grad=True)] * (2 if function == "correlate" else 1))


def test_the_error_of_a_function_that_has_advice_shows_it():
    t = ad.Tensor(T, requires_grad=True)
    with pytest.raises(TypeError, match=r"CubicSpline\(xp, np\.eye"):
        scipy.interpolate.CubicSpline(np.arange(7), t)
    with pytest.raises(TypeError, match=r"freqz .* Write np\.exp\(-1j \* np\.outer\(w"):
        scipy.signal.freqz(t)
    with pytest.raises(TypeError, match=r"a NumPy array in scipy\.special\.polygamma, .*; ad\.special\.polygamma\("):
        ad.compile(lambda x: scipy.special.polygamma(1, x))(T)
