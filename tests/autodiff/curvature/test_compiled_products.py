"""Products that `ad.compile` makes programs of: they are those of the operator as it is, on both back ends, or errors."""

import gc
import weakref

import numpy as np
import pytest

import autodiff as ad
import nn
import optim
from autodiff import Tensor
from autodiff.compiling.tracer import TraceError
from autodiff.curvature import KFAC, Fisher, GaussNewton, Hessian, Jacobian

BACKENDS = pytest.mark.parametrize("backend", ["numpy", "native"])
X = np.random.default_rng(0).standard_normal((7, 4))


def weights(dtype=float, scale=1.0):
    rng = np.random.default_rng(1)
    shapes = (4, 6), (6,), (6, 2), (2,)
    return [Tensor((scale * rng.standard_normal(shape)).astype(dtype), requires_grad=True) for shape in shapes]


def output(params, x=X):
    w, b, u, c = params
    return np.tanh(x @ w + b) @ u + c


def loss(params, x=X):
    return (output(params, x) ** 2).mean() + (params[0] ** 4).sum()


def vectors(op, count=5):
    rng = np.random.default_rng(2)
    return rng.standard_normal(op.shape[1]).astype(op.dtype), rng.standard_normal((op.shape[1], count)).astype(op.dtype)


def dense(params, x=X):
    """The Hessian of `loss` by torch."""
    torch = pytest.importorskip("torch")
    ends = np.cumsum([p.size for p in params])[:-1]

    def theirs(flat):
        parts = torch.tensor_split(flat, ends.tolist())
        w, b, u, c = (part.reshape(p.shape) for part, p in zip(parts, params))
        return ((torch.tanh(torch.tensor(x) @ w + b) @ u + c) ** 2).mean() + (w**4).sum()

    point = torch.tensor(np.concatenate([p.numpy().ravel() for p in params]))
    return torch.autograd.functional.hessian(theirs, point).numpy()


@BACKENDS
def test_a_compiled_product_is_the_dense_hessian_times_the_vector(backend):
    params = weights()
    H, matrix = Hessian(lambda: loss(params), params), dense(params)
    v, V = vectors(H)
    for product in (ad.compile(H.matvec, backend=backend), ad.compile(lambda x: H @ x, backend=backend)):
        for x in (v, -3 * v):
            np.testing.assert_allclose(product(x), matrix @ x, rtol=1e-9, atol=1e-9)
        assert len(product.programs) == 1
    for product in (ad.compile(H.matmat, backend=backend), ad.compile(lambda x: H @ x, backend=backend)):
        for x in (V, V[::-1].copy()):
            np.testing.assert_allclose(product(x), matrix @ x, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(product(np.asfortranarray(V)), matrix @ V, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(H @ V, matrix @ V, rtol=1e-9, atol=1e-9)  # the operator is as it was


def test_the_program_holds_the_tangents_and_the_adjoint_alone():
    params = weights()
    H = Hessian(lambda: loss(params), params)
    product = ad.compile(H.matvec)
    product(vectors(H)[0])
    (program,) = product.programs
    assert [x.name for x in program.inputs] == ["x"]
    assert "tanh" not in [node.op for node in program.nodes]
    products = [node for node in program.nodes if node.op == "dot" and len(node.shape) == 2]
    assert len(products) == 2 + 6  # of the first layer, whose input does not move, and of the second


def test_the_program_of_many_products_copies_no_transposed_matrices():
    params = weights()
    H = Hessian(lambda: loss(params), params)
    product, V = ad.compile(H.matmat), np.asfortranarray(vectors(H)[1])
    np.testing.assert_allclose(product(V), dense(params) @ V, rtol=1e-9, atol=1e-9)
    assert all(node.view for node in product.programs[0].nodes if node.op == "reshape")


@BACKENDS
def test_every_operator_of_a_recorded_graph_and_its_blocks(backend):
    params = weights()
    G = GaussNewton(lambda: output(params), lambda z: (z**4).sum(), params, damping=0.5)
    F = Fisher(lambda: output(params), None, params, likelihood="softmax")
    J = Jacobian(lambda: output(params), params)
    B = Hessian(lambda: loss(params), params, damping=0.25).block(params[1:3])
    for op in (G, F, J, B):
        v, V = vectors(op)
        matrix = op.to_dense()
        np.testing.assert_allclose(ad.compile(op.matvec, backend=backend)(v), matrix @ v, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(ad.compile(op.matmat)(V), matrix @ V, rtol=1e-9, atol=1e-9)
        u = np.random.default_rng(3).standard_normal((op.shape[0], 4))
        np.testing.assert_allclose(ad.compile(op.rmatmat)(u), matrix.T @ u, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(
            ad.compile(op.rmatvec, backend=backend)(u[:, 0]), matrix.T @ u[:, 0], rtol=1e-9, atol=1e-9
        )


def assigned(params):
    params[0].data = params[0].data * 1.5


def written(params):
    params[2].data[1, 1] += 1


def written_under_no_grad(params):
    with ad.no_grad():
        params[1] -= 0.25


def stepped(params):
    adam = optim.Adam(params, lr=0.1)
    loss(params).backward()
    adam.step()


@BACKENDS
@pytest.mark.parametrize("change", [assigned, written, written_under_no_grad, stepped])
def test_after_a_change_of_the_parameters_it_raises_as_the_operator_does_until_that_moves(backend, change):
    params = weights()
    H = Hessian(lambda: loss(params), params)
    v, V = vectors(H)
    by_method, by_operator = ad.compile(H.matvec, backend=backend), ad.compile(lambda x: H @ x, backend=backend)
    for _ in range(2):
        for product, x in ((by_method, v), (by_operator, V)):
            np.testing.assert_allclose(product(x), dense(params) @ x, rtol=1e-9, atol=1e-9)
            assert len(product.programs) == 1  # those of before are gone
        change(params)
        for product, x in ((by_method, v), (by_operator, V), (H.matvec, v)):
            with pytest.raises(RuntimeError, match="was changed after this operator was made"):
                product(x)
        H.refresh()


@BACKENDS
def test_a_state_that_is_loaded_is_a_change(backend):
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    H = Hessian(lambda: (model(Tensor(X)) ** 2).mean(), model.parameters())
    product, v = ad.compile(H.matvec, backend=backend), vectors(H)[0]
    before = product(v)
    model.load_state_dict({name: 2 * value.numpy() for name, value in model.state_dict().items()})
    with pytest.raises(RuntimeError, match="was changed"):
        product(v)
    H.refresh()
    after = product(v)
    np.testing.assert_allclose(after, H.to_dense() @ v, rtol=1e-9, atol=1e-9)
    assert not np.allclose(before, after)


@BACKENDS
def test_a_new_batch_counts_when_the_operator_is_recorded_anew(backend):
    params, batch = weights(), Tensor(X)
    H = Hessian(lambda: loss(params, batch), params)
    product, v = ad.compile(H.matvec, backend=backend), vectors(H)[0]
    product(v)
    new = np.random.default_rng(5).standard_normal(X.shape)
    batch.data[...] = new
    for f in (product, H.matvec):  # the tanh of the old batch does not fit the new one
        with pytest.raises(RuntimeError, match="was written or assigned after it was used"):
            f(v)
    H.refresh()
    np.testing.assert_allclose(product(v), dense(params, new) @ v, rtol=1e-9, atol=1e-9)


def test_an_operator_made_anew_under_the_same_name_is_another_program():
    params = weights()
    H = Hessian(lambda: loss(params), params)
    held = {"H": H}
    product, v = ad.compile(lambda x: held["H"] @ x), vectors(H)[0]
    product(v)
    assigned(params)
    held["H"] = Hessian(lambda: loss(params), params)
    np.testing.assert_allclose(product(v), dense(params) @ v, rtol=1e-9, atol=1e-9)
    del held["H"]
    with pytest.raises(KeyError):
        product(v)


def test_damping_is_that_of_the_call():
    params = weights()
    H = Hessian(lambda: loss(params), params)
    product, v = ad.compile(H.matvec), vectors(H)[0]
    for damping in (0.0, 2.0, -1.0, 0.0):
        H.damping = damping
        np.testing.assert_allclose(product(v), dense(params) @ v + damping * v, rtol=1e-9, atol=1e-9)


@BACKENDS
def test_other_shapes_and_dtypes_of_vectors(backend):
    params = weights(np.float32)
    H = Hessian(lambda: loss(params, X.astype(np.float32)), params)
    v, V = vectors(H)
    matrix = H.to_dense()
    product = ad.compile(lambda x: H @ x, backend=backend)
    for x in (v, v[:, None], V, V[:, :1], v.astype(float), (10 * v).astype(int), V[::2].repeat(2, axis=0), v > 0):
        found = product(x)
        assert (found.shape, found.dtype) == (x.shape, np.float32)
        np.testing.assert_allclose(found, matrix @ x, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(product(Tensor(v)), matrix @ v, rtol=1e-4, atol=1e-4)
    for wrong in (v[1:], V.T, V[None]):
        with pytest.raises(ValueError, match=r"Hessian\.mat(vec|mat): needs shape"):
            product(wrong)
    with pytest.raises(TypeError, match="needs real numbers, not complex64"):
        product(v * 1j)


def test_a_product_with_what_is_no_argument_is_guarded_too():
    params = weights()
    H = Hessian(lambda: loss(params), params)
    v = vectors(H)[0]
    scaled = ad.compile(lambda s: s * (H @ v))
    for s in (2.0, 3.0):
        np.testing.assert_allclose(scaled(np.float64(s)), s * (dense(params) @ v), rtol=1e-9, atol=1e-9)
    written(params)
    with pytest.raises(RuntimeError, match="was changed"):
        scaled(np.float64(2.0))


def test_two_operators_are_guarded_each():
    params, others = weights(), weights()
    G, H = Hessian(lambda: loss(params), params), Hessian(lambda: loss(others), others)
    v = vectors(H)[0]
    both = ad.compile(lambda x: (G @ x, H @ x, G @ (2 * x)))
    expected = dense(params) @ v
    for found, scale in zip(both(v), (1, 1, 2)):
        np.testing.assert_allclose(found, scale * expected, rtol=1e-9, atol=1e-9)
    written(others)
    with pytest.raises(RuntimeError, match="was changed"):
        both(v)


@BACKENDS
def test_parameters_that_do_not_matter_have_zeros(backend):
    w, unused = (Tensor(np.arange(1.0, 4.0), requires_grad=True) for _ in range(2))
    H = Hessian(lambda: (w**4).sum(), [unused, w])
    expected = np.diag([0.0] * 3 + [12.0, 48.0, 108.0])
    np.testing.assert_allclose(ad.compile(H.matmat, backend=backend)(np.eye(6)), expected, rtol=1e-12)
    np.testing.assert_allclose(ad.compile(H.matvec, backend=backend)(np.ones(6)), expected.sum(axis=1), rtol=1e-12)


def test_beside_what_is_computed_anew():
    params = weights()
    H = Hessian(lambda: loss(params), params)
    v = vectors(H)[0]
    both = ad.compile(lambda x: (loss(params).detach(), H @ x))
    params[0].data  # whoever has it may write it, which a trace must not take for done
    for _ in range(2):
        value, product = both(v)
        assert value.item() == pytest.approx(loss(params).item(), rel=1e-12)
        np.testing.assert_allclose(product, dense(params) @ v, rtol=1e-9, atol=1e-9)
        written(params)
        H.refresh()


def test_a_function_that_writes_a_parameter_before_the_product_raises_as_it_does():
    params = weights()
    H = Hessian(lambda: loss(params), params)

    def moved(x, new):
        params[3].data[...] = new
        return H @ x

    for function in (ad.compile(moved), moved):
        with pytest.raises(RuntimeError, match="was changed after this operator was made"):
            function(vectors(H)[0], np.ones(2))
        H.refresh()


def test_an_operator_that_the_function_makes_follows_the_parameters():
    params = weights()
    product = ad.compile(lambda x: Hessian(lambda: loss(params), params) @ x)
    v = np.random.default_rng(2).standard_normal(sum(p.size for p in params))
    programs = []
    for _ in range(2):
        np.testing.assert_allclose(product(v), dense(params) @ v, rtol=1e-9, atol=1e-9)
        programs += product.programs
        assigned(params)
    assert programs[0] is programs[1]


def test_what_no_program_can_repeat_is_refused_and_leaves_the_operator_as_it_was():
    params = weights()
    H, J = Hessian(lambda: loss(params), params), Jacobian(lambda: output(params), params)
    batched = Hessian(lambda x: loss(params, x), params, batches=[X, X])
    v = vectors(H)[0]

    def moving(op):
        def moved(x):
            op.refresh()
            return op @ x

        return moved

    for function, message in (
        (batched.matvec, "a Hessian with batches= or comm= records anew"),
        (moving(H), r"moves a Hessian by refresh\(\)"),
        (moving(J), r"moves a Jacobian by refresh\(\)"),
    ):
        with pytest.raises(TraceError, match=message):
            ad.compile(function)(v)
    np.testing.assert_allclose(H @ v, dense(params) @ v, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(batched @ v, dense(params) @ v, rtol=1e-9, atol=1e-9)


def test_where_infinite_slopes_meet_zeros_the_operator_itself_answers():
    w = Tensor([0.0, 4.0], requires_grad=True)
    H = Hessian(np.where(np.array([False, True]), np.sqrt(w), 0.0).sum() + (w**3).sum(), w)
    product = ad.compile(H.matvec)
    for v in ([1.0, 1.0], [0.0, 2.0]):
        expected = [0.0, (6 * 4 - 0.25 * 4**-1.5) * v[1]]
        np.testing.assert_allclose(H @ v, expected, rtol=1e-12)
        np.testing.assert_allclose(product(np.array(v)), expected, rtol=1e-12)


def test_hooks_and_results_as_parameters():
    params = weights()
    params[0].register_hook(lambda g: g)
    H = Hessian(lambda: loss(params), params)
    v = vectors(H)[0]
    np.testing.assert_allclose(ad.compile(H.matvec)(v), dense(params) @ v, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(H @ v, dense(params) @ v, rtol=1e-9, atol=1e-9)


def test_a_program_of_what_was_recorded_before_keeps_nothing_alive():
    params = weights()
    recorded = []

    def at():
        recorded.append(weakref.ref(z := loss(params)))
        return z

    H = Hessian(at, params)
    product, v = ad.compile(H.matvec), vectors(H)[0]
    product(v)
    assigned(params)
    H.refresh()
    product(v)
    gc.collect()
    assert [z() is None for z in recorded] == [True, False]


def test_a_rule_that_no_program_can_follow_does_not_slow_the_operator_down():
    met = []

    def rule(g, y, x):
        met.append(g)
        if not isinstance(g, Tensor):
            assert g.flags.writeable in (True, False)  # which a traced array does not say
        return 2.0 * g

    doubled = ad.primitive(lambda x: 2.0 * x, name="doubled", vjps=[rule], jvps="linear")
    w = Tensor(np.arange(1.0, 5.0), requires_grad=True)
    H = Hessian(lambda: (doubled(w**2) ** 2).sum(), w)
    with pytest.raises(TraceError, match=r"flags\.writeable of a traced array"):
        ad.compile(H.matmat)(np.eye(4))
    met.clear()
    np.testing.assert_allclose(H @ np.eye(4), np.diag(48 * np.arange(1.0, 5.0) ** 2))
    assert len(met) == 1  # for all columns together


def factored(params):
    return KFAC(lambda: output(params), None, params, likelihood="softmax", damping=0.5)


@BACKENDS
def test_a_product_of_kronecker_factors_has_the_damping_and_the_factors_of_the_call(backend):
    params = weights()
    K = factored(params)
    product, v = ad.compile(K.matvec, backend=backend), vectors(K)[0]
    bare = factored(params).to_dense() - 0.5 * np.eye(K.size)
    for damping in (0.5, 3.0, 0.0):
        K.damping = damping
        np.testing.assert_allclose(product(v), bare @ v + damping * v, rtol=1e-9, atol=1e-9)
    assigned(params)
    K.refresh()
    np.testing.assert_allclose(product(v), factored(params) @ v - 0.5 * v, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", [lambda params: Hessian(lambda: loss(params), params), factored])
def test_a_function_that_moves_the_damping_is_refused(kind):
    params = weights()
    op = kind(params)
    before, v = op.damping, vectors(op)[0]

    def further(x):
        op.damping = op.damping + 1.0
        return op @ x

    with pytest.raises(TraceError, match=r"the function changes 'op\._damping'"):
        ad.compile(further)(v)
    assert op.damping == before
    expected = op @ v
    for k in (1, 2):
        np.testing.assert_allclose(ad.compile(further, on_unsupported="eager")(v), expected + k * v, rtol=1e-9)


def test_the_damping_of_an_operator_that_the_function_makes_may_move():
    params = weights()

    def both(x):
        op = Hessian(lambda: loss(params), params, damping=1.0)
        one = op @ x
        op.damping = 2.0
        return one, op @ x

    v = vectors(Hessian(lambda: loss(params), params))[0]
    for scale, found in zip((1.0, 2.0), ad.compile(both)(v)):
        np.testing.assert_allclose(found, dense(params) @ v + scale * v, rtol=1e-9, atol=1e-9)


def test_hooks_on_results_are_asked_at_every_product_or_no_program_is_made():
    w, scale, handles = Tensor([1.0, 2.0], requires_grad=True), [2.0], []

    def hooked():
        y = w**2
        handles.append(y.register_hook(lambda g: g * scale[0]))
        return (y**2).sum()

    H, v = Hessian(hooked, w), np.ones(2)
    with pytest.raises(TraceError, match="a Hessian was recorded from results with hooks"):
        ad.compile(H.matvec)(v)
    product = ad.compile(H.matvec, on_unsupported="eager")
    found = [product(v)]
    scale[0] = 5.0
    found.append(product(v))
    handles[0].remove()
    found.append(product(v))
    # The gradient was recorded with the hook: 2 · 2 w² · 2w = 8 w³. Of its 24 w², the part by y = w² passes the hook.
    of_y, of_w = 16 * w.numpy() ** 2, 8 * w.numpy() ** 2
    for scaled, k in zip(found, (2.0, 5.0, 1.0)):
        np.testing.assert_allclose(scaled, k * of_y + of_w, rtol=1e-12)


def test_marks_and_watched_hooks_do_not_bar_the_way():
    w, scale = Tensor([1.0, 2.0], requires_grad=True), [1.0]
    w.register_hook(lambda g: g * scale[0])

    def kept():
        y = w**2
        y.retain_grad()
        return (y**2).sum()

    H, v = Hessian(kept, w), np.ones(2)
    product = ad.compile(H.matvec)
    for scale[0] in (1.0, 3.0):
        np.testing.assert_allclose(product(v), H @ v, rtol=1e-12)
    np.testing.assert_allclose(product(v), 3.0 * 12.0 * w.numpy() ** 2, rtol=1e-12)


def test_a_hook_that_comes_later_is_seen():
    z = Tensor([1.0, 2.0], requires_grad=True) * 1.0  # by a result, the gradient is recorded and differentiated
    y = z**2
    H, v = Hessian((y**2).sum(), z), np.ones(2)
    product = ad.compile(H.matvec, on_unsupported="eager")
    np.testing.assert_allclose(product(v), [12.0, 48.0], rtol=1e-12)
    y.register_hook(lambda g: 3.0 * g)  # of 12 z² the part by y, 8 z², passes it
    np.testing.assert_allclose(product(v), [28.0, 112.0], rtol=1e-12)


@BACKENDS
def test_a_step_along_a_product_writes_the_parameters(backend):
    params, others = weights(), weights()
    G, H = Hessian(lambda: loss(params), params), Hessian(lambda: loss(others), others)

    def step(op, x):
        product = op @ x
        for p, d in zip(op.params, op.split(product)):
            p.data = p.data - 0.01 * d
        return product

    compiled, v = ad.compile(lambda x: step(G, x), backend=backend), vectors(G)[0]
    for _ in range(3):
        np.testing.assert_allclose(compiled(v), step(H, v), rtol=1e-9, atol=1e-9)
        for p, q in zip(params, others):
            np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-9)
        for op in (G, H):
            op.refresh()


def test_what_scipy_makes_of_operators_is_refused_with_what_to_write():
    params = weights()
    G, H = (Hessian(lambda: loss(params), params) for _ in range(2))
    v = vectors(H)[0]
    for function in ((2 * G + H).matvec, lambda x: x @ H):
        with pytest.raises(TraceError, match=r"2 \* \(G @ t\) \+ H @ t"):
            ad.compile(function)(v)
        np.testing.assert_allclose(ad.compile(function, on_unsupported="eager")(v), function(v), rtol=1e-12)
    np.testing.assert_allclose(ad.compile(lambda x: 2 * (G @ x) + H @ x)(v), (2 * G + H) @ v, rtol=1e-9, atol=1e-9)
