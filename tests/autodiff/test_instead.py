"""What the errors say to write instead computes what the function computes, as the advice stands."""

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
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
    ("scipy.linalg.toeplitz", lambda: scipy.linalg.toeplitz(T), {"t": T}),
    ("scipy.linalg.circulant", lambda: scipy.linalg.circulant(T), {"t": T}),
    ("scipy.linalg.expm", lambda: scipy.linalg.expm(A), {"a": A}),
    ("scipy.linalg.sqrtm", lambda: scipy.linalg.sqrtm(A), {"a": A}),
    ("scipy.linalg.logm", lambda: scipy.linalg.logm(A), {"a": A}),
    ("scipy.linalg.fractional_matrix_power", lambda: scipy.linalg.fractional_matrix_power(A, 0.3), {"a": A, "p": 0.3}),
    ("scipy.signal.detrend", lambda: scipy.signal.detrend(T), {"t": T}),
    ("scipy.spatial.distance.cdist", lambda: scipy.spatial.distance.cdist(M, A), {"a": M, "b": A}),
    ("scipy.spatial.distance.pdist", lambda: scipy.spatial.distance.pdist(M), {"a": M}),
    ("scipy.spatial.distance.euclidean", lambda: scipy.spatial.distance.euclidean(T, U), {"a": T, "b": U}),
    ("scipy.spatial.distance.cosine", lambda: scipy.spatial.distance.cosine(T, U), {"a": T, "b": U}),
    ("scipy.spatial.distance.cityblock", lambda: scipy.spatial.distance.cityblock(T, U), {"a": T, "b": U}),
    ("scipy.special.logsumexp", lambda: scipy.special.logsumexp(T), {"t": T}),
    ("scipy.special.softmax", lambda: scipy.special.softmax(T), {"t": T}),
    ("scipy.special.log_softmax", lambda: scipy.special.log_softmax(T), {"t": T}),
    ("scipy.special.polygamma", lambda: scipy.special.polygamma(2, T), {"t": T, "n": 2}),
    ("scipy.special.factorial", lambda: scipy.special.factorial(T), {"t": T}),
    ("scipy.special.exp10", lambda: scipy.special.exp10(T), {"t": T}),
    ("scipy.special.cosdg", lambda: scipy.special.cosdg(T), {"t": T}),
    ("scipy.special.sindg", lambda: scipy.special.sindg(T), {"t": T}),
    ("scipy.special.tandg", lambda: scipy.special.tandg(T), {"t": T}),
    *[("scipy.stats." + f.__name__, lambda f=f, t=t: f(t), {"t": t})
      for f in (scipy.stats.zscore, scipy.stats.gmean, scipy.stats.hmean, scipy.stats.sem, scipy.stats.skew,
                scipy.stats.kurtosis, scipy.stats.entropy) for t in (T, M)],
]  # fmt: skip


@pytest.mark.parametrize(("name", "function", "names"), CASES, ids=[f"{i}-{c[0]}" for i, c in enumerate(CASES)])
def test_advice_computes_what_the_function_does_and_carries_the_gradient(name, function, names):
    advice = INSTEAD[name].split("; ")[0]
    expression, _, definitions = advice.partition(" with ")
    names = {"np": np, "ad": ad, **{k: ad.Tensor(v, requires_grad=True) if k == "t" else v for k, v in names.items()}}
    for definition in filter(None, definitions.split(" and ")):
        exec(definition, names)
    found = eval(expression, names)
    if name == "scipy.linalg.eigh":
        found = found[0]
    np.testing.assert_allclose(
        found.detach().numpy() if isinstance(found, ad.Tensor) else found, function(), rtol=1e-7, atol=1e-9
    )
    if isinstance(names.get("t"), ad.Tensor):
        found.sum().backward()
        assert np.isfinite(names["t"].grad.data).all()
