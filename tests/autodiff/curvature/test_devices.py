"""Curvature of a model on a device: the products run there, and what is made of them is the same as on NumPy's arrays."""

from __future__ import annotations

import numpy as np
import pytest

import autodiff as ad
import nn
import optim
from autodiff.device_arrays import DeviceArray
from autodiff.tensor import variable
from tests.stand_in import Device, same_on_a_device, there

C = ad.curvature
ROWS, CLASSES = np.random.default_rng(3).normal(size=(12, 3)), np.random.default_rng(4).integers(0, 2, 12)
CROSS, POINT = nn.functional.cross_entropy, np.array([0.5, -1.0, 2.0])


def given(kind):
    nn.manual_seed(0)
    model = nn.MLP([3, 4, 2], dtype="float64")
    if kind is Device:
        model.to(there())
    return model, list(model.parameters()), ad.Tensor(kind(ROWS)), ad.Tensor(kind(CLASSES))


def hessian(kind):
    model, params, x, y = given(kind)
    return C.Hessian(lambda: CROSS(model(x), y), params)


def gauss_newton(kind):
    model, params, x, y = given(kind)
    return C.GaussNewton(lambda: model(x), lambda z: CROSS(z, y), params)


def fisher(kind, make=C.Fisher, **options):
    model, params, x, _ = given(kind)
    return make(lambda: model(x), None, params, **options)


def drawn_and_empirical(make):
    def run(kind):
        model, params, x, y = given(kind)
        ways = [{"kind": "mc", "rng": 0}, {"kind": "empirical", "targets": y}]
        found = [make(lambda: model(x), None, params, **options) for options in ways]
        found.append(make(lambda: model(x), lambda z: CROSS(z, y), params, kind="empirical"))
        return [F.to_dense() for F in found]

    return run


def normed(kind, make=C.Fisher):
    """With a parameter that is no weight."""
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4, dtype="float64"), nn.LayerNorm(4, dtype="float64"), nn.Tanh(),
                          nn.Linear(4, 2, dtype="float64"))  # fmt: skip
    if kind is Device:
        model.to(there())
    x = ad.Tensor(kind(ROWS))
    return make(lambda: model(x), None, list(model.parameters()), kind="exact").to_dense()


def as_many_outputs_as_examples(kind):
    """Of which KFAC asks whether their rows are the examples'."""
    nn.manual_seed(0)
    model = nn.MLP([3, 4, 4], dtype="float64")
    if kind is Device:
        model.to(there())
    x = ad.Tensor(kind(ROWS[:4]))
    return C.KFAC(lambda: model(x), None, list(model.parameters())).to_dense()


def batched(kind):
    model, params, x, y = given(kind)
    parts = [(x[:5], y[:5]), (x[5:], y[5:])]
    return [
        C.Hessian(lambda x, y: CROSS(model(x), y), params, batches=parts).to_dense(),
        C.GaussNewton(lambda x, y: model(x), lambda z, x, y: CROSS(z, y), params, batches=parts).to_dense(),
        C.KFAC(lambda x, y: model(x), None, params, batches=parts).to_dense(),
    ]


def in_two_places(kind):
    """The first layers on the device, the last in the processor's memory, to which activations are brought."""
    nn.manual_seed(0)
    options = {"dtype": "float64"}
    first = nn.Sequential(nn.Linear(3, 4, **options), nn.LayerNorm(4, **options), nn.Tanh())
    last = nn.Sequential(nn.Linear(4, 2, **options), nn.LayerNorm(2, **options))
    if kind is Device:
        first.to(there())
    params, x = [*first.parameters(), *last.parameters()], ad.Tensor(kind(ROWS))
    output = lambda: last(first(x).cpu())
    loss = lambda z: CROSS(z, CLASSES)
    found = [C.Hessian(lambda: loss(output()), params), C.GaussNewton(output, loss, params), C.Jacobian(output, params),
             C.Fisher(output, None, params), C.KFAC(output, None, params)]  # fmt: skip
    return [op @ np.arange(1.0, op.shape[1] + 1) for op in found] + [op.to_dense() for op in found]


def loss_and_gradient(kind):
    H = hessian(kind)
    return H.value, H.gradient, H.flatten(H.params), H.block(H.params[:1]).to_dense()


def jacobian(kind):
    model, params, x, _ = given(kind)
    J = C.Jacobian(lambda: model(x), params)
    return J.to_dense(), J @ np.arange(1.0, J.shape[1] + 1), J.rmatvec(np.arange(1.0, J.shape[0] + 1))


def inverses(kind):
    G, K, v = gauss_newton(kind), fisher(kind, C.KFAC), np.ones(26)
    return (C.Inverse(G, 0.1) @ v, C.Inverse(G, 0.1, preconditioner=K.inverse(0.1)) @ v,
            C.Inverse(hessian(kind), 0.1, "minres") @ v, C.Inverse(K, 0.1, "kfac") @ v)  # fmt: skip


def of_examples(function):
    def run(kind):
        model, params, x, y = given(kind)
        return function(lambda: model(x), lambda z: CROSS(z, y), params)

    return run


def mixing(kind):
    """An output whose rows do not belong to the examples alone."""
    model, params, x, y = given(kind)
    with pytest.warns(UserWarning, match="every example is pulled back"):
        return C.per_example_gradients(lambda: model(x) - model(x).mean(axis=0), lambda z: CROSS(z, y), params)


def stationary(kind):
    x = variable(ad.Tensor(kind(np.zeros(3)))._ndarray)
    return C.classify_stationary_point(lambda: (x * x).sum(), x).eigenvalues


def quadratic(kind):
    model, params, x, y = given(kind)
    q = C.quadratic_model(lambda: CROSS(model(x), y), params)
    return q.value, q.gradient


def of_data(function):
    """A function of a model, a loss and data: arrays of NumPy's, arrays on the device, and batches in a list."""

    def run(kind):
        x, y = (ad.Tensor(kind(a)) for a in (ROWS, CLASSES))
        sets = (ROWS, CLASSES), (x, y), [(ROWS[:7], CLASSES[:7]), (ROWS[7:], CLASSES[7:])]
        return [part for data in sets for part in function(given(kind)[0], nn.CrossEntropyLoss(), data)]

    return run


def approximated(model, loss, data):
    for structure in ("full", "diag", "kron", "last_layer"):
        found = C.laplace(model, data, structure=structure)
        yield from (found.log_marginal_likelihood(), found.predict(ROWS), found.sample(2, rng=0))


def tracked(model, loss, data):
    watch = C.track(model, loss, data, rng=0)
    optimizer = optim.Adam(model.parameters())
    optim.fit(model, loss, data, optimizer=optimizer, epochs=2, rng=0, progress=False, callbacks=[watch])
    return [v for v in vars(watch).values() if isinstance(v, list) and v and isinstance(v[0], float)]


CASES = {
    "Hessian": lambda kind: [hessian(kind).to_dense(), hessian(kind) @ np.arange(26.0), *loss_and_gradient(kind)],
    "Hessian at a point": lambda kind: C.Hessian(lambda x: (x**3).sum(), at=kind(POINT)).to_dense(),
    "GaussNewton": lambda kind: [gauss_newton(kind).to_dense(), gauss_newton(kind).diagonal()],
    "Fisher": lambda kind: fisher(kind).to_dense(), "Fisher drawn": drawn_and_empirical(C.Fisher),
    "Fisher diagonal": lambda kind: fisher(kind).diagonal(),
    "Fisher gaussian": lambda kind: fisher(kind, likelihood="gaussian").to_dense(),
    "KFAC": lambda kind: [fisher(kind, C.KFAC, sharing=s).to_dense() for s in ("expand", "reduce")],
    "KFAC drawn": drawn_and_empirical(C.KFAC),
    "EKFAC": lambda kind: fisher(kind, C.EKFAC).to_dense(),
    "KFAC of a norm": lambda kind: [normed(kind, C.KFAC), normed(kind, C.EKFAC), normed(kind)],
    "KFAC of four": as_many_outputs_as_examples, "batches": batched, "in two places": in_two_places,
    "Jacobian": jacobian, "Inverse": inverses,
    **{
        name: lambda kind, name=name: [*getattr(C, name)(gauss_newton(kind), num_probes=8, rng=0)]
        for name in ("trace", "diagonal", "norm", "xtrace", "xdiag")
    },
    "eigenpairs": lambda kind: C.eigenpairs(gauss_newton(kind), 2, rng=0).values,
    "sharpness": lambda kind: [C.sharpness(hessian(kind), rng=0), C.max_stable_lr(hessian(kind), rng=0)],
    "condition_number": lambda kind: C.condition_number(C.Hessian(lambda x: (x**4).sum(), at=kind(POINT)), rng=0),
    "curvature_along": lambda kind: C.curvature_along(hessian(kind), np.ones(26)),
    "spectral_density": lambda kind: C.spectral_density(gauss_newton(kind), 3, 6, rng=0).density,
    "per_example_gradients": of_examples(C.per_example_gradients),
    "per_example_norms": of_examples(C.per_example_norms),
    "examples that mix": mixing, "classify_stationary_point": stationary, "quadratic_model": quadratic,
    "gradient_noise": of_data(lambda *given: C.gradient_noise(*given)[:2]),
    "influence": of_data(lambda m, c, d: [C.influence(m, c, d, d, damping=0.1, method="exact").scores]),
    "influence without the matrix": lambda kind: [
        C.influence(given(kind)[0], nn.CrossEntropyLoss(), *[(ROWS, CLASSES)] * 2, damping=0.1, method=how).scores
        for how in ("cg", "kfac")
    ],
    "laplace": of_data(approximated),
    "landscape": of_data(lambda m, c, d: [C.landscape(m, c, d, steps=3, rng=0, directions=how).values
                                          for how in ("random", "eigen")]),
    "track": of_data(tracked),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_curvature_is_the_same_on_a_device_and_comes_as_arrays_of_numpy(name):
    kinds, _ = same_on_a_device(CASES[name], rtol=1e-7, atol=1e-10)
    assert kinds.isdisjoint({Device, DeviceArray})


def test_every_public_name_is_among_these():
    results = {"Estimate", "GaussianPrediction", "GradientNoise", "Influence", "Laplace", "LossLandscape",
               "QuadraticModel", "SpectralDensity", "StationaryPoint", "Track"}  # fmt: skip
    assert set(C.__all__) - results - {"max_stable_lr"} <= set(CASES)


def test_a_product_copies_no_more_than_the_vectors():
    H = hessian(Device)
    _, copies = same_on_a_device(lambda kind: (H if kind is Device else hessian(kind)) @ np.ones(26))
    assert copies == len(H.params)
