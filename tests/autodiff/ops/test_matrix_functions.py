"""Functions of symmetric matrices against SciPy, closed forms and mpmath, where eigenvalues repeat and where not."""

import itertools

import mpmath
import numpy as np
import pytest
import scipy.linalg

import autodiff as ad
import autodiff.linalg as la
from autodiff import Tensor, no_grad
from autodiff.checking.anomaly import detect_anomaly


def symmetric(x):
    return (x + x.swapaxes(-1, -2)) / 2


def with_eigenvalues(values, rng):
    basis = np.linalg.qr(rng.normal(size=(len(values), len(values))))[0]
    return symmetric((basis * values) @ basis.T)


SPECTRA = {
    "identity": [1.0, 1.0, 1.0],
    "one pair": [1.0, 1.0, 2.0],
    "apart": [0.5, 1.7, 3.1],
    "rounding": [1.0, 1.0 + 3e-16, 1.0 + 7e-16],
    "near": [1.0, 1.0 + 1e-9, 1.0 + 1e-4],
    "graded": [1e-6, 1e-3, 1.0],
}


def matrices(name, rng):
    """Diagonal, in a random basis, and both as a stack."""
    a = np.stack([np.diag(SPECTRA[name]), with_eigenvalues(SPECTRA[name], rng)])
    return [a[0], a[1], a]


FUNCTIONS = {
    "exp": (np.exp, scipy.linalg.expm),
    "log": (np.log, scipy.linalg.logm),
    "sqrt": (np.sqrt, scipy.linalg.sqrtm),
    "inverse": (lambda x: 1 / x, np.linalg.inv),
    "square": (lambda x: x * x, lambda a: a @ a),
    "cosine": (np.cos, scipy.linalg.cosm),
}


def derivative_of(f, a, *directions):
    """The derivative of SciPy's function along the directions: the corner of f of a block triangular matrix
    (Higham, "Functions of matrices", theorem 4.13 and its extension to further derivatives)."""
    block = a
    for i, e in enumerate(directions):
        e = np.kron(np.eye(2**i), e)
        block = np.block([[block, e], [np.zeros_like(block), block]])
    n = len(a)
    return np.real(f(block))[:n, -n:]


def corner(f):
    return np.vectorize(f, signature="(n,n)->(n,n)")


@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_funm_sym_has_scipys_values_and_the_trace_is_the_spectral_sum(name, spectrum, rng):
    f, exact = FUNCTIONS[name]
    for a in matrices(spectrum, rng):
        y, expected = la.funm_sym(a, f).numpy(), np.real(corner(exact)(a))
        np.testing.assert_allclose(y, expected, rtol=1e-8, atol=1e-9 * np.abs(expected).max() + 1e-14)
        np.testing.assert_allclose(
            la.spectral_sum(a, f).numpy(), np.trace(y, axis1=-2, axis2=-1), rtol=1e-10, atol=1e-14
        )


@pytest.mark.parametrize("spectrum", ["identity", "one pair", "apart", "rounding", "near"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_funm_sym_has_the_first_two_derivatives_of_scipys_function_of_block_matrices(name, spectrum, rng):
    f, exact = FUNCTIONS[name]
    for a in matrices(spectrum, rng)[:2]:
        e, h = (symmetric(rng.normal(size=a.shape)) for _ in range(2))
        first = ad.jvp(lambda x: la.funm_sym(x, f), a, e)[1]
        expected = derivative_of(exact, a, e)
        # SciPy's logarithm and root of a defective block matrix keep about half the digits.
        tolerance = {"rtol": 1e-6, "atol": 1e-6 * np.abs(expected).max()}
        np.testing.assert_allclose(first, expected, **tolerance)
        g = rng.normal(size=a.shape)
        (pulled,) = ad.vjp(lambda x: la.funm_sym(x, f), a)[1](g)
        np.testing.assert_allclose((pulled * e).sum(), (g * expected).sum(), rtol=1e-6)
        np.testing.assert_allclose(pulled, pulled.T, rtol=1e-12)
        if name in ("exp", "inverse", "square", "cosine"):
            expected = derivative_of(exact, a, e, h)
            second = ad.jvp(lambda x: ad.jvp(lambda y: la.funm_sym(y, f), x, e)[1], a, h)[1]
            np.testing.assert_allclose(second, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
            second = ad.hvp(lambda x: (la.funm_sym(x, f) * g).sum(), a, e)
            np.testing.assert_allclose((second * h).sum(), (g * expected).sum(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("spectrum", SPECTRA)
def test_powers_have_three_derivatives_of_products_of_matrices(spectrum, rng):
    """f = x² and x³ are matrix products, whose derivatives the engine knows without eigenvalues."""
    for a in matrices(spectrum, rng):
        g = rng.normal(size=a.shape)
        directions = [symmetric(rng.normal(size=a.shape)) for _ in range(3)]
        pairs = [
            (lambda x: la.funm_sym(x, lambda t: t * t), lambda x: x @ x),
            (lambda x: la.funm_sym(x, lambda t: t**3), lambda x: x @ x @ x),
            (lambda x: la.spectral_sum(x, lambda t: t**4), lambda x: la.trace(x @ x @ x @ x)),
        ]
        for ours, theirs in pairs:
            for order in range(4):
                found, expected = [], []
                for f, results in ((ours, found), (theirs, expected)):
                    slope = lambda x, f=f: (f(symmetric(x)) * (g if f(a).ndim == a.ndim else 1.0)).sum()
                    for e in directions[:order]:
                        slope = lambda x, s=slope, e=e: (derivative(s, x) * e).sum()
                    results += [slope(Tensor(a)).item(), ad.grad(slope)(a)]
                np.testing.assert_allclose(found[0], expected[0], rtol=1e-9, atol=1e-9)
                np.testing.assert_allclose(found[1], expected[1], rtol=1e-9, atol=1e-9)


def derivative(f, x):
    """The gradient as a function that can be differentiated again."""
    z = x if x.requires_grad else Tensor(x, requires_grad=True)
    (d,) = ad.gradients(f(z), z, create_graph=True, allow_unused=True)
    return Tensor(np.zeros(x.shape)) if d is None else d


@pytest.mark.parametrize("spectrum", SPECTRA)
def test_the_spectral_sum_of_logarithms_is_slogdet_to_the_third_derivative(spectrum, rng):
    for a in matrices(spectrum, rng)[:2]:
        e, h = (symmetric(rng.normal(size=a.shape)) for _ in range(2))
        results = []
        for f in (lambda x: la.spectral_sum(symmetric(x), np.log), lambda x: la.slogdet(symmetric(x)).logabsdet):
            first = lambda x, f=f: (derivative(f, x) * e).sum()
            second = lambda x, s=first: (derivative(s, x) * h).sum()
            results.append([ad.grad(f)(a), ad.hvp(f, a, e), ad.jvp(ad.grad(f), a, e)[1], ad.grad(second)(a)])
        for found, expected in zip(*results):
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7 * np.abs(expected).max())


def test_the_two_sums_that_repeated_eigenvalues_made_wrong_are_right(rng):
    """Σ λ² at the identity, whose Hessian is that of the squared Frobenius norm; and exp by its eigenvectors."""
    h = ad.hessian(lambda x: la.spectral_sum((x + x.T) / 2, np.square))(np.eye(3))
    exact = ad.hessian(lambda x: (((x + x.T) / 2) ** 2).sum())(np.eye(3))
    np.testing.assert_allclose(h, exact, atol=1e-14)
    e = symmetric(rng.normal(size=(3, 3)))
    np.testing.assert_allclose(ad.jvp(lambda x: la.funm_sym(x, np.exp), np.eye(3), e)[1], np.e * e, rtol=1e-14)


@pytest.mark.parametrize("f, slopes", [(np.exp, np.e * np.ones(4)), (np.log, np.array([1.0, -1.0, 2.0, -6.0]))])
def test_at_the_identity_every_derivative_is_a_derivative_of_the_scalar_function(f, slopes, rng):
    """f(1 + tE) is Σ f⁽ᵏ⁾(1) tᵏ Eᵏ / k!, whatever E."""
    e = symmetric(rng.normal(size=(3, 3)))
    along = lambda t: la.funm_sym(np.eye(3) + t * e, f)
    for k, slope in enumerate(slopes[:3], 1):
        inner = along
        along = lambda t, inner=inner: ad.jvp(inner, t, np.array(1.0))[1]
        np.testing.assert_allclose(
            np.asarray(along(Tensor(0.0))), slope * np.linalg.matrix_power(e, k), rtol=1e-9, atol=1e-12
        )


def exact_difference(f, xs):
    """f[x₀, …, xₖ] with 250 digits, equal points drawn apart by 10⁻²⁵."""
    with mpmath.workdps(250):
        xs = [mpmath.mpf(float(x)) + mpmath.mpf(10) ** -25 * i * (i + 1) for i, x in enumerate(xs)]
        row = [f(x) for x in xs]
        for j in range(1, len(xs)):
            row = [(b - a) / (xs[i + j] - xs[i]) for i, (a, b) in enumerate(itertools.pairwise(row))]
        return row[0]


SCALARS = {
    "exp": (np.exp, mpmath.exp),
    "log": (np.log, mpmath.log),
    "sqrt": (np.sqrt, mpmath.sqrt),
    "inverse": (lambda x: 1 / x, lambda x: 1 / x),
    "steep": (lambda x: np.exp(100 * x), lambda x: mpmath.exp(100 * x)),
    "cancels": (lambda x: np.exp(x) - 1, lambda x: mpmath.exp(x) - 1),
}
SPREADS = [0, 3e-16, 1e-12, 1e-9, 1e-6, 1e-3, 0.05, 0.2, 0.4, 1.0, 3.0]


@pytest.mark.parametrize("name", SCALARS)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_divided_differences_are_exact_at_every_distance(name, order):
    """Read off from the derivative of funm_sym of a diagonal matrix along the entries next to the diagonal: its corner
    is the divided difference of all the points (once for each order of the directions that reaches it: one)."""
    f, exact = SCALARS[name]
    n = order + 1
    for spread in SPREADS:
        x = (1 if name != "cancels" else 0) + spread * np.array([0, 0.37, 0.4, 1.0])[-n:]
        directions = [np.zeros((n, n)) for _ in range(order)]
        for i, e in enumerate(directions):
            e[i, i + 1] = e[i + 1, i] = 1.0
        g = np.zeros((n, n))
        g[0, -1] = 1.0
        slope = lambda a: (la.funm_sym(a, f) * g).sum()
        for e in directions:
            slope = lambda a, s=slope, e=e: (derivative(s, a) * e).sum()
        expected = float(exact_difference(exact, x))
        np.testing.assert_allclose(slope(Tensor(np.diag(x), requires_grad=True)).item(), expected, rtol=2e-12)


def test_a_step_between_two_eigenvalues_that_hides_from_quadrature_is_seen(rng):
    a = np.diag([-1.0, 1.0])
    off = np.array([[0.0, 1.0], [1.0, 0.0]])
    for f, quotient in [
        (lambda x: ad.sigmoid(1e3 * x), 0.5), (np.abs, 0.0), (lambda x: np.maximum(x, 0), 0.5),
        (lambda x: 1 / x, -1.0 * -1.0 * 1.0), (np.sign, 1.0),
    ]:  # fmt: skip
        with np.errstate(over="ignore"):
            np.testing.assert_allclose(ad.jvp(lambda x: la.funm_sym(x, f), a, off)[1], quotient * off, atol=1e-12)


def test_where_the_scalar_function_has_no_derivative_the_matrix_function_has_none():
    for f in (np.sqrt, np.log):
        with np.errstate(all="ignore"):
            d = ad.grad(lambda x: la.funm_sym(x, f).sum())(np.diag([0.0, 0.0, 1.0]))
        assert not np.isfinite(d).any()


@pytest.mark.parametrize("chosen", [lambda y: np.where(KEEP.reshape(-1, *[1] * (y.ndim - 1)), y, 0.0), lambda y: y[0]])
def test_a_singular_matrix_that_was_left_out_has_derivatives_of_zero(chosen, rng):
    a, e = np.stack([np.eye(2), np.zeros((2, 2))]), symmetric(rng.normal(size=(2, 2, 2)))
    with np.errstate(all="ignore"):
        for f, exact in [(la.funm_sym, np.ones((2, 2))), (la.spectral_sum, np.eye(2))]:
            loss = lambda x, f=f: chosen(f(x, np.log)).sum()
            np.testing.assert_allclose(ad.grad(loss)(a), [exact, np.zeros((2, 2))])
            for d in (ad.hvp(loss, a, e), ad.jvp(ad.grad(loss), a, e)[1]):
                assert np.isfinite(d).all() and (d[1] == 0).all() and (d[0] != 0).any()


KEEP = np.array([True, False])


def test_dtypes_shapes_and_empty_matrices_are_kept(rng):
    a = symmetric(rng.normal(size=(2, 1, 3, 3))).astype(np.float32)
    x = Tensor(a, requires_grad=True)
    for y, shape in ((la.funm_sym(x, np.exp), a.shape), (la.spectral_sum(x, np.exp), (2, 1))):
        (d,) = ad.gradients(y.sum(), x, create_graph=True)
        assert y.dtype == d.dtype == np.float32 and y.shape == shape and d.shape == a.shape
        assert ad.gradients(d.sum(), x)[0].dtype == np.float32
    assert la.funm_sym([[2, 0], [0, 2]], np.sqrt).dtype == np.float64
    for shape in ((0, 2, 2), (0, 0), (3, 0, 0)):
        e = Tensor(np.zeros(shape), requires_grad=True)
        assert la.funm_sym(e, np.exp).shape == shape and la.spectral_sum(e, np.exp).shape == shape[:-2]
        (d,) = ad.gradients(la.spectral_sum(e, np.exp).sum(), e, create_graph=True)
        assert ad.gradients(d.sum(), e)[0].shape == shape


def test_a_function_that_is_constant_or_a_line_has_derivatives_of_zero(rng):
    a = with_eigenvalues([1.0, 1.0, 2.0], rng)
    for f in (lambda x: x * 0 + 3.0, np.ones_like, np.floor):
        np.testing.assert_allclose(ad.grad(lambda x: la.spectral_sum(x, f))(a), 0, atol=1e-15)
    np.testing.assert_allclose(ad.grad(lambda x: la.spectral_sum(x, lambda t: 2 * t))(a), 2 * np.eye(3), atol=1e-14)
    np.testing.assert_allclose(ad.hessian(lambda x: la.spectral_sum(x, lambda t: 2 * t))(a), 0, atol=1e-14)


def test_the_square_root_of_a_covariance_can_be_learned_through(rng):
    """The distance of Bures between covariances, at two equal ones, where both spectra repeat."""

    def distance(x, y):
        root = la.funm_sym(x, np.sqrt)
        cross = root @ y @ root
        return la.trace(x) + la.trace(y) - 2 * la.spectral_sum((cross + cross.T) / 2, np.sqrt)

    e = symmetric(rng.normal(size=(3, 3)))
    np.testing.assert_allclose(ad.grad(lambda x: distance(x, np.eye(3)))(np.eye(3)), 0, atol=1e-14)
    # Near equal ones it is ¼ tr(E²) + …, its Hessian along E half of tr(E²).
    curvature = ad.hvp(lambda x: distance((x + x.T) / 2, np.eye(3)), np.eye(3), e)
    np.testing.assert_allclose((curvature * e).sum(), (e * e).sum() / 2, rtol=1e-12)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: la.funm_sym(np.ones((2, 3)), np.exp), np.linalg.LinAlgError, "funm_sym: needs square matrices"),
        (lambda: la.spectral_sum(np.ones(3), np.exp), np.linalg.LinAlgError, "spectral_sum: needs square matrices"),
        (lambda: la.funm_sym([[1.0, 2.0], [0.0, 1.0]], np.exp), ValueError, "is not symmetric"),
        (lambda: la.funm_sym(np.eye(2), "exp"), TypeError, "f is a function of the eigenvalues"),
        (lambda: la.funm_sym(np.eye(2), lambda x: x.sum()), ValueError, "applied to each of them"),
        (lambda: la.funm_sym(np.eye(2), lambda x: np.exp(x.numpy())), TypeError, "returned ndarray"),
        (lambda: la.spectral_sum(np.eye(2), lambda x: 1.0), TypeError, "returned float"),
    ],
)
def test_what_does_not_fit_is_an_error_that_says_what_would(call, error, words):
    with pytest.raises(error) as raised:
        call()
    assert words in str(raised.value)


@pytest.mark.parametrize("mixing", [ad.softmax, lambda x: x / x.sum(), lambda x: x - x[-1], lambda x: x[::-1] * 1.0])
def test_a_function_that_mixes_eigenvalues_is_refused_before_it_has_a_wrong_derivative(mixing):
    for f in (la.funm_sym, la.spectral_sum):
        with pytest.raises(ValueError, match="mixes the eigenvalues"):
            ad.grad(lambda x: f(x, mixing).sum())(np.diag([1.0, 2.0, 4.0]))


def test_a_parameter_inside_the_function_is_refused_and_not_lost():
    t = Tensor(2.0, requires_grad=True)
    for f in (la.funm_sym, la.spectral_sum):
        with pytest.raises(TypeError, match="requires a gradient beside its argument"):
            f(np.eye(2), lambda x: np.exp(t * x))
    with no_grad():
        np.testing.assert_allclose(la.spectral_sum(np.eye(2), lambda x: np.exp(t * x)).item(), 2 * np.e**2)
    np.testing.assert_allclose(ad.grad(lambda t: la.spectral_sum(t * np.eye(2), np.exp))(2.0), 2 * np.e**2)


def test_detect_anomaly_does_not_look_at_the_points_between_eigenvalues():
    a = np.diag([-1.0, 1.0])
    with detect_anomaly():
        d = ad.grad(lambda x: la.spectral_sum(x, lambda t: 1 / t) + la.funm_sym(x, lambda t: 1 / t).sum())(a)
    np.testing.assert_allclose(d, [[-2.0, 1.0], [1.0, -2.0]])


def test_a_graph_of_matrix_functions_is_drawn_and_explained():
    x = Tensor(np.eye(2), requires_grad=True)
    y = la.spectral_sum(la.funm_sym(x, np.exp), np.log)
    assert "V f(λ) Vᵀ" in ad.graph(y).source
    assert "Σᵢ f(λᵢ), eigenvalues λ of v" in str(ad.explain(y))


def test_nan_in_is_nan_out():
    with np.errstate(invalid="ignore"):
        assert np.isnan(la.funm_sym(np.full((2, 2), np.nan), np.exp).numpy()).all()


def test_a_graph_of_matrix_functions_is_freed_by_reference_counting(no_collector):
    import weakref

    x = Tensor(np.eye(3), requires_grad=True)
    y = la.funm_sym(x, np.exp)
    (d,) = ad.gradients(y.sum(), x, create_graph=True)
    ad.gradients((d * d).sum(), x)
    alive = weakref.ref(y), weakref.ref(d)
    del y, d
    assert [a() for a in alive] == [None, None]
