"""Arrays on a device, which know a part of NumPy only: the same values and gradients as on NumPy's, copied nowhere
unseen."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

import autodiff as ad
import nn
import optim
from autodiff.device_arrays import DeviceArray
from autodiff.primitive import REGISTRY
from autodiff.tensor import variable, wrap
from tests.autodiff.test_foreign_arrays import compared
from tests.autodiff.transforms import test_foreign_arrays as transforms
from tests.nn import test_foreign_arrays as layers
from tests.optim import test_foreign_arrays as optimizers
from tests.stand_in import Device, watching


def on_device(a):
    return DeviceArray(Device(a))


def same(found, expected, what):
    assert (found is None) == (expected is None), what
    if found is not None:
        found, expected = getattr(found, "_ndarray", found), getattr(expected, "_ndarray", expected)
        assert type(found) is DeviceArray and type(found.array) is Device, f"{what}: {type(found).__name__}"
        assert found.shape == expected.shape and found.dtype == expected.dtype, what
        np.testing.assert_allclose(found.array.value, expected, rtol=1e-12, atol=1e-12, err_msg=what)


SCIPY = set(
    "beta betainc betaincc betaln boxcox boxcox1p ci cosm1 dawsn digamma entr erf erfc erfcinv erfcx erfi erfinv exp1 "
    "expi exprel fresnel_c fresnel_s gamma gammainc gammaincc gammaincinv gammaln gammasgn gelu huber_function hyp0f1 "
    "hyp1f1 hyp2f1 i0 i0e i1 i1e inv_boxcox iv ive j0 j1 jv k0 k1 kl_div kv log_ndtr loggamma logit ndtr ndtri owens_t "
    "pseudo_huber rel_entr rgamma si spence stdtr xlog1py xlogy y0 y1 yn yv zeta".split()
)
"""Functions of SciPy: on CuPy's arrays most are those of cupyx.scipy.special, and then nothing is copied."""

BY_PROCESSOR = SCIPY | set(
    "betainc_derivative bivariate_normal boxcox_derivative cofactor convolve_full cumprod dawsn_derivative det eig "
    "eigvals erfcx_derivative expm expn exprel_derivative fmax_reduce fmin_reduce funm_sym gammainc_derivative gru "
    "gru_new index_max index_min index_set inverse_mills ive_derivative lfilter linear_recurrence log_gamma_half_step "
    "logm logrel_derivative lstm lu_square maximum_accumulate minimum_accumulate polygamma prod recurrence "
    "recurrence_transposed resample resample_transposed rgamma_derivative rnn_relu rnn_tanh roots sinc solve_banded "
    "solve_sylvester solve_triangular sparse_matmul spectral_sum sqrtm stdtr_derivative".split()
)
"""All that some of whose values or derivatives are computed by the processor, there and back."""


@pytest.mark.slow
def test_each_operation_gives_the_same_on_a_device_and_the_list_of_those_that_copy_is_complete():
    copying = {name for name in sorted(set(REGISTRY) - {"transfer"}) if compared(name, on_device, same)}
    assert copying == BY_PROCESSOR & set(REGISTRY)


@pytest.mark.parametrize("name", layers.CASES)
def test_a_layer_gives_the_same_on_a_device(name):
    model, *inputs = layers.CASES[name]
    with np.errstate(all="ignore"), watching() as log:
        pairs = zip(
            layers.everything(model, inputs, np.array), layers.everything(model, inputs, on_device), strict=True
        )
        for expected, found in pairs:
            same(found, expected, name)
    assert log.conversions == 0


@pytest.mark.parametrize("name", optimizers.CASES)
def test_a_step_gives_the_same_on_a_device(name):
    for options in optimizers.CASES[name]:
        with watching() as log:
            expected = optimizers.after_steps(name, options, np.array, False)
            for a, b in zip(optimizers.after_steps(name, options, on_device, False), expected, strict=True):
                same(a, b, name)
        assert log.conversions == 0


@pytest.mark.parametrize("name", transforms.CASES)
def test_a_transform_gives_the_same_on_a_device(name):
    with watching() as log:
        pairs = zip(
            transforms.flat(transforms.CASES[name](on_device)), transforms.flat(transforms.CASES[name](np.array))
        )
        for a, b in pairs:
            same(a, b, name)
    assert log.conversions == 0


def test_an_array_of_a_device_s_own_type_is_taken_as_it_is():
    x = ad.Tensor(Device(np.array([1.0, 2.0])), requires_grad=True)
    y = (Device(np.array([3.0, 4.0])) * x + x * Device(np.array([1.0, 1.0]))).sum()
    y.backward()
    same(x.grad, np.array([4.0, 5.0]), "grad")
    with pytest.raises(
        TypeError, match=r"on <device 0> does not become one of NumPy's by itself; write tensor.cpu\(\)"
    ):
        np.asarray(x.detach())


def test_arrays_on_two_devices_are_an_error_that_names_both():
    x = ad.Tensor(Device(np.ones(3)))
    for mixed in (lambda: x * np.ones(3), lambda: np.ones(3) + x, lambda: x @ ad.Tensor(np.ones((3, 2))),
                  lambda: ad.concatenate([x, ad.Tensor(np.ones(3))])):  # fmt: skip
        with pytest.raises(TypeError, match=r"shape \(3,\) on <device 0> and one of NumPy's of shape"):
            mixed()


def test_a_position_out_of_range_is_an_error_as_in_numpy():
    x = ad.Tensor(Device(np.arange(6.0).reshape(2, 3)))
    for index in (np.array([0, 2]), (slice(None), np.array([-4])), Device(np.array([5]))):
        with pytest.raises(IndexError, match="out of bounds for axis"):
            x[index]
    with pytest.raises(IndexError):
        ad.take(x, np.array([3]), axis=1)
    with pytest.raises(IndexError):
        x.at[np.array([2])].add(1.0)


def test_to_and_back_is_differentiable_and_lands_where_the_tensor_was():
    there = ad.Tensor(Device(np.zeros(1)))
    x = ad.Tensor([1.0, 2.0], requires_grad=True)
    y = x.to(there)
    same(y, np.array([1.0, 2.0]), "to")
    assert y.to(there) is y and x.cpu() is x
    (y**3).sum().backward(create_graph=True)
    np.testing.assert_array_equal(x.grad.detach(), [3.0, 12.0])
    (z,) = ad.gradients(x.grad.sum(), [x])
    np.testing.assert_array_equal(z, [6.0, 12.0])
    assert type(y.cpu()._ndarray) is np.ndarray


def test_a_module_goes_to_a_device_trains_there_and_is_saved_and_loaded_through_the_processor(tmp_path):
    there = ad.Tensor(Device(np.zeros(1, np.float32)))
    rng = np.random.default_rng(0)
    data, target = rng.normal(size=(8, 3)).astype(np.float32), rng.integers(0, 2, 8)

    def trained(place, kind):
        nn.manual_seed(0)
        model = nn.MLP([3, 5, 2])
        optimizer = optim.Adam(model.parameters(), lr=0.1)
        model.to(place)
        for _ in range(3):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(ad.Tensor(kind(data))), ad.Tensor(kind(target)))
            loss.backward()
            optimizer.step()
        return model

    here, model = trained("cpu", np.array), trained(there, Device)
    for p, q in zip(model.parameters(), here.parameters()):
        assert type(p._ndarray) is DeviceArray
        np.testing.assert_allclose(p.cpu().numpy(), q.numpy(), rtol=1e-5, atol=1e-6)
    ad.save(model.state_dict(), tmp_path / "model.npz")
    fresh = nn.MLP([3, 5, 2]).to(there)
    fresh.load_state_dict(ad.load(tmp_path / "model.npz"))
    for p, q in zip(fresh.cpu().parameters(), model.parameters()):
        np.testing.assert_array_equal(p.numpy(), q.cpu().numpy())


def test_a_special_function_is_that_of_the_device_s_package(monkeypatch):
    from scipy import special

    asked = []
    package = types.ModuleType("there")
    package.erf = lambda a: asked.append("erf") or Device(special.erf(a.value))
    monkeypatch.setitem(sys.modules, "there", package)
    monkeypatch.setitem(sys.modules["autodiff.device_arrays"].SPECIAL, "tests", "there")
    with watching() as log:
        same(ad.special.erf(wrap(on_device(np.array([0.5, 1.0])))), special.erf([0.5, 1.0]), "erf")
    assert asked == ["erf"] and log.copies == 0


def test_a_small_network_copies_nothing_to_the_processor():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3))
    model.to(ad.Tensor(Device(np.zeros(1, np.float32))))
    x = wrap(on_device(np.random.default_rng(0).normal(size=(4, 1, 8, 8)).astype(np.float32)))
    optimizer = optim.Adam(model.parameters())
    with watching() as log:
        nn.functional.cross_entropy(model(x), wrap(on_device(np.array([0, 1, 2, 1])))).backward()
        optimizer.step()
    assert log.copies == log.conversions == 0


def test_a_gradient_of_picked_rows_copies_nothing_to_the_processor():
    table = variable(on_device(np.ones((5, 2))))
    with watching() as log:
        (table[wrap(on_device(np.array([0, 3, 3])))] * 2.0).sum().backward()
    assert log.copies == 0
    same(table.grad, np.array([[2.0], [0], [0], [4], [0]]) * np.ones(2), "grad")


def test_a_variable_of_a_transform_may_be_a_device_s_own_array():
    g = ad.grad(lambda x: (x * x).sum())(Device(np.array([1.0, 3.0])))
    same(g, np.array([2.0, 6.0]), "grad")
    assert variable(on_device(np.ones(2))).requires_grad


ROWS, CLASSES = np.random.default_rng(3).normal(size=(12, 3)), np.random.default_rng(4).integers(0, 2, 12)


def classifier(kind):
    nn.manual_seed(0)
    model = nn.MLP([3, 4, 2], dtype="float64")
    return model if kind is np.array else model.to(ad.Tensor(Device(np.zeros(1))))


def loss_of(model, kind):
    return nn.functional.cross_entropy(model(ad.Tensor(kind(ROWS))), ad.Tensor(kind(CLASSES)))


def product(kind):
    model = classifier(kind)
    H = ad.curvature.Hessian(loss_of(model, kind), list(model.parameters()))
    return H @ np.arange(1.0, H.shape[0] + 1)


def gauss_newton_trace(kind):
    model, x, y = classifier(kind), ad.Tensor(kind(ROWS)), ad.Tensor(kind(CLASSES))
    G = ad.curvature.GaussNewton(lambda: model(x), lambda z: nn.functional.cross_entropy(z, y), model.parameters())
    return ad.curvature.trace(G, rng=0).value


def step_of(name):
    def weight(kind):
        model = classifier(kind)
        optimizer = getattr(optim, name)(model.parameters())

        def closure():
            optimizer.zero_grad()
            z = model(ad.Tensor(kind(ROWS)))
            loss = nn.functional.cross_entropy(z, ad.Tensor(kind(CLASSES)))
            if name != "LBFGS":
                return z, loss
            loss.backward()
            return loss

        optimizer.step(closure)
        return next(model.parameters()).cpu().numpy()

    return weight


def fitted(kind):
    model = classifier(kind)
    optimizer = optim.Adam(model.parameters())
    optim.fit(model, nn.CrossEntropyLoss(), (ROWS, CLASSES), optimizer=optimizer, epochs=2, batch_size=5, rng=0,
              validation=(ROWS, CLASSES), progress=False)  # fmt: skip
    return next(model.parameters()).cpu().numpy()


@pytest.mark.parametrize("of", [product, gauss_newton_trace, step_of("LBFGS"), step_of("HessianFree"), fitted])
def test_curvature_second_order_steps_and_fit_give_the_same_on_a_device(of):
    np.testing.assert_allclose(of(Device), of(np.array), rtol=1e-9, atol=1e-12)


def test_kfac_says_that_its_factors_are_made_on_the_processor():
    with pytest.raises(TypeError, match=r"does not become one of NumPy's by itself; write tensor.cpu\(\)"):
        step_of("KFAC")(Device)


def test_a_tensor_is_made_where_another_is():
    there = ad.Tensor(Device(np.zeros(2)))
    for made, expected in [
        (ad.zeros(3, like=there), np.zeros(3)), (ad.ones((2, 1), int, like=there), np.ones((2, 1), int)),
        (ad.full(2, 0.5, like=there), np.full(2, 0.5)), (ad.zeros_like(there), np.zeros(2)),
    ]:  # fmt: skip
        same(made, expected, "made")
    assert ad.empty(3, like=there).shape == (3,) and type(ad.zeros(2, like=ad.ones(1))._ndarray) is np.ndarray
