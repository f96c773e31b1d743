"""Products are linear in each input: their derivatives are NumPy's own product with that input replaced."""

import itertools
import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autodiff as ad
from autodiff import Tensor
from autodiff.ops import products
from tests.against_torch import agrees_with_torch


def is_multilinear(ours, numpys, *arrays):
    """Values, gradients and all mixed second derivatives of `ours`, a function linear in each of its inputs, are those
    of `numpys`: the derivative along d is the function of d."""
    rng = np.random.default_rng(3)
    xs = [Tensor(a, requires_grad=True) for a in arrays]
    y, exact = ours(*xs), numpys(*arrays)
    assert y.shape == np.shape(exact) and y.dtype == np.asarray(exact).dtype
    np.testing.assert_allclose(y.numpy(), exact, rtol=1e-11, atol=1e-11)
    weight = rng.normal(size=y.shape)
    directions = [rng.normal(size=np.shape(a)) for a in arrays]
    plain = ad.gradients(y, xs, weight)
    gradients = ad.gradients(y, xs, weight, create_graph=True)
    for i, (p, d, v) in enumerate(zip(plain, gradients, directions)):
        assert p.shape == d.shape == np.shape(arrays[i])
        np.testing.assert_allclose(p.numpy(), d.numpy(), rtol=1e-11, atol=1e-11)
        slope = np.sum(weight * numpys(*arrays[:i], v, *arrays[i + 1 :]))
        np.testing.assert_allclose(np.sum(d.numpy() * v), slope, rtol=1e-9, atol=1e-9)
        if not d.requires_grad:
            continue
        for j, second in enumerate(ad.gradients((d * v).sum(), xs, allow_unused=True)):
            moved = list(arrays)
            moved[i] = v
            moved[j] = directions[j]
            mixed = np.sum(weight * numpys(*moved)) if i != j else 0.0
            found = 0.0 if second is None else np.sum(second.numpy() * directions[j])
            np.testing.assert_allclose(found, mixed, rtol=1e-9, atol=1e-9)


def uniform(rng, *shape):
    return rng.uniform(-1, 1, shape)


sizes = st.integers(0, 3)
few = settings(max_examples=60)


@st.composite
def einsum_calls(draw):
    """An expression and the shapes of its operands: repeated labels, broadcasting, ellipses, explicit or not."""
    letters = "iZjak"
    length = {c: draw(st.integers(0, 3)) if draw(st.booleans()) else 2 for c in letters}
    dots = draw(st.lists(st.integers(1, 2), max_size=2))
    terms, shapes, dotted = [], [], 0
    for _ in range(draw(st.integers(1, 3))):
        labels = draw(st.lists(st.sampled_from(letters), max_size=4))
        ones = {c for c in labels if draw(st.integers(0, 5)) == 0}
        term, shape = "".join(labels), [1 if c in ones else length[c] for c in labels]
        if dots and draw(st.booleans()):
            n = draw(st.integers(0, len(dots)))
            dotted = max(dotted, n)
            at = draw(st.integers(0, len(labels)))
            term = term[:at] + "..." + term[at:]
            shape[at:at] = [1 if draw(st.integers(0, 4)) == 0 else m for m in dots[len(dots) - n :]]
        terms.append(term)
        shapes.append(tuple(shape))
    expression = ",".join(terms)
    if draw(st.booleans()):
        present = sorted(set("".join(terms)) - {"."})
        output = (
            "".join(draw(st.permutations(draw(st.lists(st.sampled_from(present), unique=True))))) if present else ""
        )
        if dotted or any("..." in t for t in terms):
            at = draw(st.integers(0, len(output)))
            output = output[:at] + "..." + output[at:]
        expression += draw(st.sampled_from(["->", " -> "])) + output
    return expression, shapes


@settings(max_examples=150)
@given(einsum_calls(), st.sampled_from([False, True]))
def test_einsum_is_numpys_for_any_expression_and_has_its_derivatives(call, optimize):
    expression, shapes = call
    rng = np.random.default_rng(0)
    arrays = [uniform(rng, *s) for s in shapes]
    is_multilinear(
        lambda *xs: np.einsum(expression, *xs, optimize=optimize), lambda *xs: np.einsum(expression, *xs), *arrays
    )


def test_einsum_takes_every_form_that_numpy_takes(rng):
    a, b, c = uniform(rng, 2, 3), uniform(rng, 3, 4), uniform(rng, 4, 2)
    t, u, v = (Tensor(x, requires_grad=True) for x in (a, b, c))
    for ours, exact in [
        (np.einsum(t, [0, 1], u, [1, 2]), np.einsum(a, [0, 1], b, [1, 2])),
        (ad.einsum(t, [7, 1], u, [1, 2], [2, 7]), np.einsum(a, [7, 1], b, [1, 2], [2, 7])),
        (ad.einsum(t, [30, 5], u, [5, 1]), np.einsum(a, [30, 5], b, [5, 1])),
        (ad.einsum(t, [..., 0], [..., 0]), a),
        (ad.einsum(t, [..., 0], u, [0, 1], [..., 1]), a @ b),
        (ad.einsum("ij, jk, kl", t, u, v), np.einsum("ij,jk,kl", a, b, c)),
        (ad.einsum("ij,jk,kl->il", t, u, v, optimize=["einsum_path", (0, 1), (0, 1)]), a @ b @ c),
        (ad.einsum("ij,jk,kl->il", t, u, v, optimize="optimal"), a @ b @ c),
        (ad.einsum("bA,Ac", t, u), np.einsum("bA,Ac", a, b)),
        (ad.einsum("i...->...", t), a.sum(0)),
        (ad.einsum("...i->i", t, optimize=True), a.sum(0)),
        (ad.einsum("ij,jk->ik", t, b), a @ b),
        (ad.einsum(",ij", 2.0, t), 2 * a),
    ]:
        assert isinstance(ours, Tensor) and ours.requires_grad
        np.testing.assert_allclose(ours.numpy(), exact, rtol=1e-12)
        (d,) = ad.gradients(ours, t, exact)
        assert d.shape == (2, 3)


@pytest.mark.parametrize(
    "expression", ["bij,bjk->bik", "ij,jk,kl->il", "bhqd,bhkd->bhqk", "ij,ij->", "ijk,kji->j", "iij,jk->ik"]
)
def test_large_sums_agree_with_torch(expression, rng):
    """Above a size the sums are done as pairwise matrix products."""
    torch = pytest.importorskip("torch")
    length = dict(zip("bhqdkijl", (2, 2, 17, 16, 19, 23, 23, 18)))
    arrays = [uniform(rng, *(length[c] for c in term)) for term in expression.partition("->")[0].split(",")]
    agrees_with_torch(lambda *xs: ad.einsum(expression, *xs), lambda *xs: torch.einsum(expression, *xs), *arrays)


def test_einsum_of_float32_stays_float32(rng):
    a, b = (uniform(rng, 3, 3).astype(np.float32) for _ in range(2))
    x = Tensor(a, requires_grad=True)
    for expression, operands in [
        ("ii", (x,)),
        ("ij,jk", (x, b)),
        (",ij", (2.0, x)),
        ("ii->i", (x,)),
        ("iij", (Tensor(np.ones((3, 3, 2), np.float32)),)),
    ]:
        y = ad.einsum(expression, *operands)
        assert y.dtype == np.float32
        if y.requires_grad:
            assert ad.gradients(y.sum(), x)[0].dtype == np.float32


@pytest.mark.parametrize(
    "operands, words",
    [
        (("ij,jk->iq", (2, 3), (3, 4)), "'q'"),
        (("ij->ii", (2, 3)), "twice"),
        (("ijk", (2, 3)), "operand 0 has 2 axes"),
        (("i", (2, 3)), "'...'"),
        (("ij,jk", (2, 3), (4, 5)), "label 'j' stands for lengths 3 and 4"),
        (("ii", (2, 3)), "label 'i' stands for lengths 2 and 3"),
        (("ij,jk", (2, 3)), "2 operands, but 1"),
        (("i1", (2, 3)), "'1' is not understood"),
        (("i......", (2, 3)), "not understood"),
        (("i->i->i", (2,)), "not understood"),
        (("...i->i", (2, 3)), "the output needs '...'"),
        (("...i,...i", (2, 3), (4, 3)), "lengths 2 and 4"),
    ],
)
def test_an_expression_that_does_not_fit_is_a_value_error_with_the_expression_and_the_shapes(operands, words):
    expression, *shapes = operands
    with pytest.raises(ValueError) as error:
        ad.einsum(expression, *[Tensor(np.ones(s)) for s in shapes])
    text = str(error.value)
    assert text.startswith("einsum: ") and repr(expression) in text and words in text
    assert all(str(s) in text for s in shapes)
    with pytest.raises(ValueError):
        np.einsum(expression, *[np.ones(s) for s in shapes])


def test_einsum_refuses_options_it_cannot_keep():
    x = Tensor([1.0])
    for kwargs in ({"dtype": np.float32}, {"out": np.zeros(1)}):
        with pytest.raises(TypeError, match=next(iter(kwargs))):
            np.einsum("i->i", x, **kwargs)
    for operands in [(), ("i",), (x, [60]), (x, ["i"])]:
        with pytest.raises(ValueError, match="einsum"):
            ad.einsum(*operands)


# dot, matmul and their kin


@few
@given(st.lists(sizes, max_size=3), st.lists(sizes, max_size=3), sizes)
def test_dot_and_inner_follow_every_rank_rule_of_numpy(left, right, n):
    rng = np.random.default_rng(0)
    a = uniform(rng, *left, n)
    b = uniform(rng, *right[:-1], n, *right[-1:])
    is_multilinear(np.dot, np.dot, a, b)
    is_multilinear(np.inner, np.inner, a, uniform(rng, *right, n))
    is_multilinear(np.dot, np.dot, a, uniform(rng))
    is_multilinear(np.inner, np.inner, uniform(rng), b)


@few
@given(st.lists(st.integers(1, 2), max_size=2), st.tuples(sizes, sizes, sizes), st.integers(0, 2), st.integers(0, 2))
def test_matmul_follows_every_rank_and_batch_rule_of_numpy(batch, lengths, skip, ones):
    rng = np.random.default_rng(0)
    m, n, k = lengths
    other = [1] * min(ones, len(batch)) + batch[min(ones, len(batch)) :]
    for a, b in [
        ((*batch, m, n), (*other[skip:], n, k)),
        ((*other, m, n), (*batch, n, k)),
        ((n,), (*batch, n, k)),
        ((*batch, m, n), (n,)),
    ]:
        is_multilinear(np.matmul, np.matmul, uniform(rng, *a), uniform(rng, *b))


@few
@given(st.data())
def test_tensordot_sums_over_any_pairs_of_axes(data):
    rng = np.random.default_rng(0)
    pairs = data.draw(st.lists(sizes, max_size=2))
    shapes, axes = [], []
    for _ in range(2):
        labels = data.draw(
            st.permutations([*enumerate(pairs), *[(9, n) for n in data.draw(st.lists(sizes, max_size=2))]])
        )
        shapes.append([n for _, n in labels])
        at = {label: i for i, (label, _) in enumerate(labels) if label != 9}
        axes.append([at[i] - data.draw(st.sampled_from([0, len(labels)])) for i in range(len(pairs))])
    a, b = (uniform(rng, *s) for s in shapes)
    is_multilinear(lambda *x: np.tensordot(*x, axes=axes), lambda *x: np.tensordot(*x, axes=axes), a, b)


def test_tensordot_takes_every_form_of_axes(rng):
    a, b = uniform(rng, 2, 3, 4), uniform(rng, 3, 4, 2)
    for axes in (2, (1, 0), ([1, 2], [0, 1]), ((-1,), (1,)), np.array([[0], [2]])):
        is_multilinear(lambda *x: ad.tensordot(*x, axes=axes), lambda *x: np.tensordot(*x, axes=axes), a, b)
    is_multilinear(lambda *x: ad.tensordot(*x, 0), lambda *x: np.tensordot(*x, 0), a, b)


@few
@given(st.lists(st.integers(1, 3), max_size=3), st.lists(st.integers(0, 3), max_size=2))
def test_kron_and_outer_are_numpys_for_every_rank(left, right):
    rng = np.random.default_rng(0)
    a, b = uniform(rng, *left), uniform(rng, *right)
    is_multilinear(np.kron, np.kron, a, b)
    is_multilinear(np.outer, np.outer, a, b)
    is_multilinear(np.multiply.outer, np.multiply.outer, a, b)


def test_vdot_vecdot_matvec_and_vecmat_are_numpys(rng):
    a, b = uniform(rng, 2, 3), uniform(rng, 3, 2)
    is_multilinear(np.vdot, np.vdot, a, b)
    is_multilinear(np.linalg.vecdot, np.linalg.vecdot, uniform(rng, 4, 1, 3), a)
    is_multilinear(lambda *x: ad.vecdot(*x, axis=0), lambda *x: np.linalg.vecdot(*x, axis=0), a, uniform(rng, 2, 1))
    is_multilinear(ad.vecdot, np.linalg.vecdot, a[0], a[1])
    is_multilinear(ad.matvec, lambda x, y: np.einsum("...ij,...j->...i", x, y), uniform(rng, 4, 1, 2, 3), a)
    is_multilinear(ad.vecmat, lambda x, y: np.einsum("...i,...ij->...j", x, y), a, uniform(rng, 4, 1, 3, 2))
    if hasattr(np, "matvec"):
        np.testing.assert_allclose(np.matvec(Tensor(a), a[0]).numpy(), a @ a[0])
        np.testing.assert_allclose(np.vecmat(Tensor(a[:, 0]), a).numpy(), a[:, 0] @ a)


TWO_COMPONENTS = [  # which NumPy takes until 2.5
    (((2, 2), (2, 2)), {}),
    (((2,), (2,)), {}),
    (((5, 2), (3,)), {"axisc": 0}),
    (((3, 5), (2,)), {"axisa": 0}),
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "shapes, axes",
    [
        (((3,), (3,)), {}),
        (((2, 3), (3,)), {}),
        (((4, 1, 3), (2, 3)), {}),
        (((3, 2), (3, 2)), {"axis": 0}),
        (((3, 2, 4), (2, 3, 4)), {"axisa": 0, "axisb": 1, "axisc": 0}),
        (((3, 2, 4), (2, 3, 4)), {"axisa": -3, "axisb": -2, "axisc": 1}),
        (((0, 3), (3,)), {}),
        *(TWO_COMPONENTS if np.lib.NumpyVersion(np.__version__) < "2.5.0" else []),
    ],
)
def test_cross_follows_numpys_axes_and_broadcasting(shapes, axes, rng):
    a, b = (uniform(rng, *s) for s in shapes)
    is_multilinear(lambda *x: np.cross(*x, **axes), lambda *x: np.cross(*x, **axes), a, b)


def test_a_product_with_itself_sums_both_contributions(rng):
    torch = pytest.importorskip("torch")
    a = uniform(rng, 3, 3)
    agrees_with_torch(lambda x: x @ x @ x, lambda x: x @ x @ x, a)
    agrees_with_torch(lambda x: ad.einsum("ij,jk,ki->", x, x, x), lambda x: torch.einsum("ij,jk,ki->", x, x, x), a)
    agrees_with_torch(lambda x: ad.kron(x, x), lambda x: torch.kron(x, x), a)
    agrees_with_torch(lambda x: ad.cross(x, x[::-1] * x), lambda x: torch.linalg.cross(x, x.flip(0) * x), a)


def test_third_derivatives_of_a_cubic_product_are_exact():
    x = Tensor([0.5, -1.0, 2.0], requires_grad=True)
    y = ad.einsum("i,i,i->", x, x, x)
    (d,) = ad.gradients(y, x, create_graph=True)
    (d,) = ad.gradients(d.sum(), x, create_graph=True)
    (d,) = ad.gradients(d.sum(), x)
    np.testing.assert_allclose(d.numpy(), 6.0)


@pytest.mark.parametrize(
    "call, shapes, words",
    [
        (lambda a, b: a @ b, ((2, 3), (2, 3)), "matmul: shapes (2, 3) and (2, 3) do not fit"),
        (lambda a, b: a @ b, ((2, 3), (2,)), "only length of the second, 2"),
        (lambda a, b: a @ b, ((2, 2, 3), (3, 3, 1)), "broadcast"),
        (lambda a, b: a @ 2.0, ((2, 3), ()), "scale with *"),
        (np.dot, ((2, 3), (2, 3)), "dot: shapes (2, 3) and (2, 3)"),
        (np.vdot, ((2, 3), (2,)), "vdot"),
        (np.inner, ((2, 3), (2,)), "inner"),
        (lambda a, b: np.tensordot(a, b, 1), ((2, 3), (2,)), "tensordot"),
        (lambda a, b: np.tensordot(a, b, 3), ((2, 3), (2,)), "axes=3"),
        (lambda a, b: np.tensordot(a, b, ((0, 0), (0, 0))), ((2, 3), (2, 2)), "twice"),
        (lambda a, b: np.tensordot(a, b, (0, 5)), ((2, 3), (2, 2)), "axis 5 is out of range"),
        (np.cross, ((2, 4), (2, 3)), "cross: shapes (2, 4) and (2, 3)"),
        (np.cross, ((4, 3), (2, 3)), "cannot be broadcast"),
        (np.linalg.vecdot, ((4, 3), (4,)), "vecdot"),
        (ad.matvec, ((4, 3), (4,)), "matvec"),
        (ad.vecmat, ((3,), (4, 2)), "vecmat"),
    ],
)
def test_shapes_that_do_not_fit_are_named(call, shapes, words):
    with pytest.raises(ValueError) as error:
        call(*(Tensor(np.ones(s)) for s in shapes))
    assert words in str(error.value)


def test_none_is_refused_and_a_list_of_tensors_is_one_tensor():
    x = Tensor([1.0, 2.0])
    with pytest.raises(TypeError):
        ad.kron(x, None)
    assert ad.tensordot([x, x], x, 1).tolist() == [5.0, 5.0]


def test_a_graph_of_products_is_freed_by_reference_counting(no_collector):
    def once():
        x = Tensor(np.ones((50, 50)), requires_grad=True)
        y = ad.einsum("ij,jk,ki->", x, x, x) + ad.tensordot(x, x, 2) + ad.cross(x[:, :3], x[:, :3]).sum()
        (d,) = ad.gradients(y, x, create_graph=True)
        ad.gradients((d * d).sum(), x)

    once()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            once()
        assert tracemalloc.get_traced_memory()[0] - before < 20_000
    finally:
        tracemalloc.stop()


def test_every_product_is_numpys_by_name():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in products.__all__:
            if hasattr(np, name):
                assert getattr(ad, name) is getattr(products, name)
    x = Tensor(np.eye(3), requires_grad=True)
    for f, g in itertools.product((np.dot, np.inner, np.outer, np.kron, np.vdot), (x, np.eye(3))):
        assert f(x, g).requires_grad and f(g, x).requires_grad
