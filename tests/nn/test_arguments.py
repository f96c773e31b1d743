"""Options that are no booleans: every layer refuses them by name."""

import copy
import inspect
import pickle

import numpy as np
import pytest

import nn

LAYERS = [
    layer for layer in map(nn.__dict__.get, nn.__all__) if isinstance(layer, type) and issubclass(layer, nn.Module)
]
OPTIONS = [
    (layer, p.name)
    for layer in LAYERS
    for p in inspect.signature(layer).parameters.values()
    if str(p.annotation).startswith("bool")
]


def required(layer):
    """An argument for each parameter without a default."""
    return {
        p.name: [4, 2] if p.name == "sizes" else (2,) if "shape" in p.name else 4
        for p in inspect.signature(layer).parameters.values()
        if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
    }


def test_there_are_options_to_check():
    assert {(nn.Linear, "bias"), (nn.LSTM, "batch_first"), (nn.ReLU, "inplace"), (nn.AvgPool2d, "ceil_mode")} <= set(
        OPTIONS
    )


@pytest.mark.parametrize("wrong", ["False", "no", 0, 1, 2.0, np.array([True]), []])
@pytest.mark.parametrize("layer, name", OPTIONS, ids=lambda v: getattr(v, "__name__", v))
def test_an_option_that_is_true_or_false_takes_nothing_else(layer, name, wrong):
    with pytest.raises(TypeError, match=f"{layer.__name__}: {name} is True or False, not"):
        layer(**required(layer) | {name: wrong})


def test_by_position_too_and_numpys_booleans_and_none_where_it_is_an_option_are_fine():
    with pytest.raises(TypeError, match="Linear: bias is True or False, not 'no'"):
        nn.Linear(2, 3, "no")
    assert nn.Linear(2, 3, np.bool_(False)).bias is None
    assert nn.Upsample(3, align_corners=None).size == 3


def test_what_a_layer_of_ones_own_takes_is_its_authors_business():
    class Own(nn.Linear):
        def __init__(self, deep: bool) -> None:
            self.deep = deep
            super().__init__(2, 2)

    class Inherited(nn.Linear):
        pass

    assert Own("yes").deep == "yes"
    with pytest.raises(TypeError, match="Inherited: bias"):
        Inherited(2, 2, "yes")
    for layer in (Own(True), Inherited(2, 2, False)):
        assert copy.deepcopy(layer).in_features == 2
    assert pickle.loads(pickle.dumps(nn.Linear(2, 2, bias=False))).bias is None
