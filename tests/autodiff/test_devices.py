"""`to`, `cpu` and `half` of tensors and modules, and `device=` of layers: what programs for PyTorch write."""

import inspect
import pickle
import sys
import types

import numpy as np
import pytest

import autodiff as ad
import nn
from autodiff.device_arrays import DeviceArray
from tests.stand_in import Device


def test_to_a_dtype_is_astype_with_its_gradient_and_to_the_processor_nothing_at_all():
    x = ad.Tensor([1.0, 2.0], requires_grad=True)
    assert x.to("cpu") is x.cpu() is x.to(device="cpu:0") is x.to("float64") is x.to(None) is x
    assert x.half().dtype == x.to("cpu", np.float16).dtype == x.to(np.zeros(1, np.float16)).dtype == np.float16
    assert x.to(int).dtype == np.dtype(int) and x.to("cpu", copy=True) is not x
    assert x.to(np.float32).dtype == x.to(np.dtype("float32")).dtype == np.float32
    (x.to(dtype="float32", non_blocking=True) ** 2).sum().backward()
    np.testing.assert_array_equal(x.grad, [2.0, 4.0])
    assert x.grad.dtype == np.float64


def test_a_module_goes_where_a_tensor_goes_and_its_parameters_stay_the_same_objects():
    model = nn.Sequential(nn.Linear(2, 2, device="cpu"), nn.BatchNorm1d(2, device=None))
    weight = model[0].weight
    assert model.to("cpu") is model.cpu() is model.to("cpu", "float64") is model and weight.dtype == np.float64
    assert model.half()[1].running_mean.dtype == weight.dtype == np.float16 and model[0].weight is weight
    assert model.to(ad.Tensor([1.0]))[0].bias.dtype == np.float64
    assert model.to(np.float32).to(weight.dtype) is model and weight.dtype == np.float32
    with pytest.raises(TypeError, match="floating-point"):
        model.to(int)


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_without_cupy_is_refused_with_what_to_install(device, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    layer, message = nn.Linear(1, 1), rf"'{device}' needs CuPy; install 'autodiff\[cuda12\]' or 'autodiff\[cuda13\]'"
    for call in (
        lambda: ad.Tensor(1.0).to(device), lambda: ad.Tensor(1.0).to(device=device), lambda: layer.to(device),
        lambda: layer.to(pytest.importorskip("torch").device(device)),
        *([ad.Tensor(1.0).cuda, layer.cuda] if device == "cuda" else []),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match=message):
            call()
    for make in (lambda: nn.Linear(2, 2, device=device), lambda: nn.LSTM(2, 2, device=device)):
        with pytest.raises(RuntimeError, match=rf"(Linear|LSTM): device: {message}"):
            make()


@pytest.fixture
def cupy(monkeypatch):
    """A package that stands for CuPy where a device is asked for by its name."""
    asked = []

    class GPU:
        def __init__(self, number):
            self.number = number

        def __enter__(self):
            if self.number > 1:
                raise RuntimeError("invalid device ordinal")
            asked.append(self.number)

        def __exit__(self, *_):
            pass

    package = types.ModuleType("cupy")
    runtime = types.SimpleNamespace(CUDARuntimeError=RuntimeError)
    package.cuda, package.empty = types.SimpleNamespace(Device=GPU, runtime=runtime), lambda n: Device(np.empty(n))
    package.asked = asked
    monkeypatch.setitem(sys.modules, "cupy", package)
    return package


def test_a_layer_made_on_a_gpu_has_the_weights_of_one_that_is_brought_there(cupy):
    for make in (
        lambda **d: nn.Linear(2, 3, rng=np.random.default_rng(0), **d),
        lambda **d: nn.LSTM(2, 3, num_layers=2, rng=np.random.default_rng(0), **d),
        lambda **d: nn.MLP([2, 3, 1], rng=np.random.default_rng(0), **d),
        lambda **d: nn.BatchNorm1d(2, **d),
    ):
        made, brought = make(device="cuda:1"), make()
        for t, other in zip(
            [*made.parameters(), *made.buffers()], [*brought.parameters(), *brought.buffers()], strict=True
        ):
            assert type(t._ndarray) is DeviceArray and t.dtype == other.dtype
            np.testing.assert_array_equal(t.cpu().numpy(), other.numpy())
    assert set(cupy.asked) == {1} and type(nn.Linear(2, 2, device="cpu").weight._ndarray) is np.ndarray
    with pytest.raises(RuntimeError, match="Linear: device: there is no 'cuda:7' here: invalid device ordinal"):
        nn.Linear(2, 2, device="cuda:7")


def test_the_devices_of_others_are_refused():
    with pytest.raises(RuntimeError, match=r"Tensor\.to: arrays on 'mps' are not supported; write 'cpu', or 'cuda'"):
        ad.Tensor(1.0).to("mps")
    layer = nn.Linear(1, 1)
    assert layer.to(pytest.importorskip("torch").device("cpu")) is layer


def test_what_is_neither_a_device_nor_a_dtype_is_refused():
    for call, message in [
        (
            lambda: ad.Tensor(1.0).to("gpu"),
            r"Tensor.to: takes a device \('cpu', 'cuda'\) or a NumPy dtype such as .*'gpu'",
        ),
        (lambda: nn.Linear(1, 1).to("cpu", "gpu"), "Linear.to: takes a device"),
        (lambda: ad.Tensor(1.0).to("float32", "float64"), "takes one dtype, not 'float32' and 'float64'"),
        (lambda: nn.Linear(1, 1, device=3), "Linear: device: takes a device such as 'cpu' or 'cuda', not 3"),
        (lambda: nn.ReLU(device="cpu"), "ReLU: got an unexpected keyword argument 'device'"),
    ]:
        with pytest.raises(TypeError, match=message):
            call()


def test_every_layer_with_a_dtype_takes_a_device_and_is_copied_as_before():
    layers = [x for x in map(nn.__dict__.get, nn.__all__) if isinstance(x, type) and issubclass(x, nn.Module)]
    with_dtype = [layer for layer in layers if "dtype" in inspect.signature(layer).parameters]
    assert {nn.Linear, nn.GRU, nn.MLP, nn.TransformerEncoderLayer, nn.PReLU} <= set(with_dtype)
    assert [x.__name__ for x in with_dtype if "device" not in inspect.signature(x).parameters] == []
    assert pickle.loads(pickle.dumps(nn.Linear(2, 3, device="cpu"))).weight.shape == (3, 2)
