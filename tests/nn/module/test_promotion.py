"""float32 models that meet float64: one warning for each layer and line, and none where nothing is promoted."""

import pickle
import warnings

import numpy as np
import pytest

import autodiff as ad
import nn

LAYERS = {
    "Linear": (lambda: nn.Linear(4, 4), (2, 4)),
    "Conv2d": (lambda: nn.Conv2d(4, 2, 1), (1, 4, 3, 3)),
    "LSTM": (lambda: nn.LSTM(4, 2), (3, 1, 4)),
    "GRUCell": (lambda: nn.GRUCell(4, 2), (1, 4)),
    "LayerNorm": (lambda: nn.LayerNorm(4), (2, 4)),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(4), (3, 4)),
    "PReLU": (lambda: nn.PReLU(), (2, 4)),
    "Bilinear": (lambda: nn.Bilinear(4, 4, 2), (2, 4)),
}


def heard(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [w for w in caught if issubclass(w.category, nn.DtypeWarning)]


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_says_once_that_its_input_is_double(name):
    make, shape = LAYERS[name]
    layer = make()
    x = np.random.default_rng(0).normal(size=shape)
    inputs = (x, x) if name == "Bilinear" else (x,)

    def call():
        for _ in range(3):
            layer(*inputs)

    (warning,) = heard(call)
    assert f"{name}: parameter " in str(warning.message) and warning.filename == __file__
    assert not heard(call)  # the same line
    assert heard(lambda: layer(*inputs))  # another one
    assert not heard(lambda: make()(*[v.astype("float32") for v in inputs]))
    assert not heard(lambda: make().double()(*inputs))


class Scaled(nn.Module):
    def __init__(self, scale):
        self.scale = nn.Parameter(scale)
        self.last = nn.Linear(4, 1)

    def forward(self, x):
        return self.last(self.scale * x)


def test_a_double_parameter_in_a_single_model_is_named():
    messages = [str(w.message) for w in heard(lambda: Scaled(ad.ones(4))(ad.ones((2, 4), dtype="float32")))]
    assert [m.split(",")[0] for m in messages] == [
        "Linear: parameter 'bias' is float32", "Scaled: parameter 'scale' is float64",
    ]  # fmt: skip
    assert not heard(lambda: Scaled(ad.ones(4, dtype="float32"))(ad.ones((2, 4), dtype="float32")))


def test_a_double_model_is_told_what_makes_its_input_double_or_the_model_single():
    model, x = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1)).double(), np.ones((2, 4), "float32")
    (warning,) = heard(lambda: model(x))
    advice = "write x.astype('float64'), or where single precision is meant model.float()"
    assert str(warning.message).startswith("Linear: parameter 'bias' is float64, and the input float32")
    assert advice in str(warning.message) and "double()" not in str(warning.message)
    assert not heard(lambda: model(x.astype("float64"))) and not heard(lambda: model.float()(x))


def test_data_that_turn_double_on_the_way_are_noticed_at_the_next_layer():
    model = nn.Linear(4, 4)

    def forward():
        h = model(np.ones((2, 4), "float32"))
        return model(h * np.arange(4))  # int64 times float32 is float64

    (warning,) = heard(forward)
    assert "Linear" in str(warning.message)


def test_it_can_be_switched_off_and_leaves_no_trace_in_a_layer():
    layer = nn.Linear(4, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", nn.DtypeWarning)
        layer(np.ones((2, 4)))
    assert pickle.loads(pickle.dumps(layer))(np.ones((2, 4), "float32")).dtype == np.float32
