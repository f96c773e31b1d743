"""Arrays on a device, which know a part of NumPy only: the same values and gradients as on NumPy's, copied nowhere
unseen."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

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
from tests.stand_in import Device, same_on_a_device, there, watching


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
    "eigvals erfcx_derivative expm expn exprel_derivative fmax_reduce fmin_reduce funm_sym gammainc_derivative "
    "index_max index_min index_set inverse_mills ive_derivative lfilter linear_recurrence log_gamma_half_step "
    "logm logrel_derivative lu_square maximum_accumulate minimum_accumulate polygamma prod resample "
    "resample_transposed rgamma_derivative roots sinc solve_banded solve_sylvester solve_triangular sparse_matmul "
    "spectral_sum sqrtm stdtr_derivative".split()
)
"""All that some of whose values or derivatives are computed by the processor, there and back."""


def test_the_page_on_gpus_lists_all_of_them():
    page = (Path(__file__).parents[2] / "docs/howto/gpu.md").read_text()
    assert set(page.split("```text\n")[-1].partition("```")[0].split()) == BY_PROCESSOR & set(REGISTRY)


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


def classifier(kind):
    nn.manual_seed(0)
    model = nn.MLP([3, 4, 2], dtype="float64")
    return model if kind is np.array else model.to(there())


ROWS, CLASSES = np.random.default_rng(3).normal(size=(12, 3)), np.random.default_rng(4).integers(0, 2, 12)


def loss_of(kind):
    return nn.functional.cross_entropy(classifier(kind)(ad.Tensor(kind(ROWS))), ad.Tensor(kind(CLASSES)))


@pytest.mark.parametrize(
    "show",
    [lambda y: str(ad.explain(y)), lambda y: ad.explain(y)._repr_html_(), lambda y: ad.graph(y).source],
    ids=["table", "page", "picture"],
)
def test_pictures_and_tables_of_what_is_on_a_device_are_those_of_the_same_numbers_here(show):
    def without_numbers_of_nodes(text):
        seen = {}
        return re.sub(r"\b(op|t)\d+\b", lambda m: seen.setdefault(m[0], f"{m[1]}#{len(seen)}"), text)

    here, away = (without_numbers_of_nodes(show(loss_of(kind))) for kind in (np.array, Device))
    assert away == here


def test_a_live_page_of_what_is_on_a_device_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"live=True computes .* is on <device 0>; leave live out, or write model.cpu"):
        ad.explain(loss_of(Device)).to_html(tmp_path / "page.html", live=True)


def test_a_tensor_on_a_device_is_shown_and_left_by_name():
    x = ad.Tensor(Device(np.array([1.0, 2.5])))
    assert repr(x) == "Tensor([1. , 2.5], device=<device 0>)" and x.tolist() == [1.0, 2.5] and x[1].item() == 2.5
    assert f"{x[1]:.2f}" == "2.50" and x.cpu().numpy().tolist() == [1.0, 2.5]
    with pytest.raises(TypeError, match=r"write tensor.cpu\(\)"):
        x.numpy()


def test_derivatives_on_a_device_are_checked_by_differences():
    x, y = ad.Tensor(Device(np.array([0.5, 1.0]))), Device(np.array([[2.0, 3.0]]))
    assert ad.gradcheck(lambda x, y: np.sin(x) * y, (x, y)) and ad.gradgradcheck(lambda x: np.sin(x) * x, x)
    wrong = ad.primitive(lambda x: x**3, name="cube", vjps=[lambda g, y, x: g * 2 * x**2])
    with pytest.raises(ad.GradientCheckError, match="2 of 4 derivatives are wrong"):
        ad.gradcheck(wrong, x)


def test_vmap_runs_on_a_device():
    def mapped(kind):
        model = classifier(kind)
        return [ad.vmap(ad.grad(lambda row: (np.tanh(row) ** 2).sum()))(ad.Tensor(kind(ROWS))),
                ad.vmap(model)(ad.Tensor(kind(ROWS)))]  # fmt: skip

    kinds, copies = same_on_a_device(mapped)
    assert kinds == {DeviceArray} and copies == 0


def test_a_program_of_what_is_on_a_device_is_refused():
    x, model = ad.Tensor(Device(ROWS)), classifier(Device)
    for call in (lambda: ad.compile(lambda x: x * 2)(x), lambda: ad.compile(lambda x: model(x))(ROWS),
                 lambda: ad.compile(model, params=model)(ROWS)):  # fmt: skip
        with pytest.raises(TypeError, match=r"on <device 0>; programs run on the processor: give t.cpu\(\)"):
            call()


def test_random_numbers_are_drawn_on_the_device_from_the_generator_s_seed(monkeypatch):
    monkeypatch.setitem(sys.modules["autodiff.device_arrays"].RANDOM, "tests", "tests.stand_in")
    x, rng = ad.Tensor(Device(np.ones((400, 50), np.float32)), requires_grad=True), np.random.default_rng(5)
    seed = int(np.random.default_rng(5).integers(2**63))
    kept = np.random.Generator(np.random.Philox(seed)).random((400, 50), np.float32) < 0.75
    with watching() as log:
        first, second = (nn.functional.dropout(x, 0.25, rng=rng) for _ in range(2))
        normal = ad.stats.norm.rvs(ad.zeros(3, like=x), 2.0, rng=np.random.default_rng(5))
        first.sum().backward()
    assert log.copies == log.conversions == 0
    same(first.detach(), (kept / 0.75).astype(np.float32), "dropout")
    same(x.grad, (kept / 0.75).astype(np.float32), "its gradient")
    assert not np.array_equal(second.cpu().numpy(), first.detach().cpu().numpy())
    same(normal, 2 * np.random.Generator(np.random.Philox(seed)).standard_normal(3), "rvs")
    laplace = ad.stats.laplace.rvs(ad.zeros(3, like=x), rng=np.random.default_rng(5))  # which it has not
    same(laplace, np.random.default_rng(5).laplace(size=3), "rvs")
    assert (nn.functional.dropout(x, 1.0).cpu().numpy() == 0).all()


def test_a_training_with_dropout_continues_to_the_last_bit_on_a_device(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules["autodiff.device_arrays"].RANDOM, "tests", "tests.stand_in")

    def weights(epochs, **options):
        nn.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 6), nn.Dropout(), nn.Linear(6, 2), nn.AlphaDropout(0.1))
        model.to(there(np.float32))
        optim.fit(model, nn.CrossEntropyLoss(), (ROWS, CLASSES), optimizer=optim.Adam(model.parameters()), epochs=epochs,
                  batch_size=5, rng=0, progress=False, **options)  # fmt: skip
        return [p.cpu().numpy() for p in model.parameters()]

    weights(2, checkpoint=tmp_path)
    for a, b in zip(weights(4, checkpoint=tmp_path, resume=True), weights(4)):
        np.testing.assert_array_equal(a, b)


def test_initial_values_written_into_a_parameter_on_a_device_are_the_processor_s():
    for name in ("normal_", "trunc_normal_", "xavier_uniform_", "orthogonal_", "eye_", "zeros_"):

        def weight(kind, name=name):
            return getattr(nn.init, name)(
                classifier(kind)[0].weight, **({} if name in ("eye_", "zeros_") else {"rng": rng})
            )

        rng = np.random.default_rng(0)
        expected = weight(np.array).detach().numpy()
        rng = np.random.default_rng(0)
        same(weight(Device).detach(), expected, name)


def test_sequences_are_continued_and_layers_reported_by_a_model_on_a_device():
    def continued(kind):
        nn.manual_seed(0)
        model = nn.Sequential(nn.Embedding(5, 4, dtype="float64"), nn.Linear(4, 5, dtype="float64"))
        model = model if kind is np.array else model.to(there())
        choose = nn.sampling(0.7, top_k=3, rng=np.random.default_rng(1))
        report = nn.layer_report(classifier(kind), ad.Tensor(kind(ROWS)), lambda z: (z * z).mean())
        rows = [[v for v in row if isinstance(v, float)] for row in report.rows]
        line = nn.Linear(2, 2, dtype="float64", rng=np.random.default_rng(2))
        line = line if kind is np.array else line.to(there())
        return [
            nn.generate(model, [[0, 1], [3, 2]], 5, choose),
            nn.generate(line, ROWS[None, :, :2], 2, lambda y: y),
            rows,
        ]

    same_on_a_device(continued)


def test_a_tensor_is_made_where_another_is():
    there = ad.Tensor(Device(np.zeros(2)))
    for made, expected in [
        (ad.zeros(3, like=there), np.zeros(3)), (ad.ones((2, 1), int, like=there), np.ones((2, 1), int)),
        (ad.full(2, 0.5, like=there), np.full(2, 0.5)), (ad.zeros_like(there), np.zeros(2)),
    ]:  # fmt: skip
        same(made, expected, "made")
    assert ad.empty(3, like=there).shape == (3,) and type(ad.zeros(2, like=ad.ones(1))._ndarray) is np.ndarray
