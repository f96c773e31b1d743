"""Options that are no booleans: every layer and every function refuses them by name."""

import copy
import inspect
import pickle
from functools import partial

import numpy as np
import pytest

import nn
import nn.functional as F
import optim
from autodiff import Tensor

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


FUNCTIONS = [
    (function, p.name)
    for function in map(F.__dict__.get, F.__all__)
    for p in inspect.signature(function).parameters.values()
    if str(p.annotation).startswith("bool")
]


@pytest.mark.parametrize("wrong", ["False", "no", 0, 1, 2.0, np.array([True]), [], Tensor(1.0, requires_grad=True)])
@pytest.mark.parametrize("function, name", FUNCTIONS, ids=lambda v: getattr(v, "__name__", v))
def test_an_option_of_a_function_that_is_true_or_false_takes_nothing_else(function, name, wrong):
    with pytest.raises(TypeError, match=f"{function.__name__}: {name} is True or False, not"):
        function(**required(function) | {name: wrong})


def test_options_of_functions_by_position_too_and_functions_stay_what_they_were():
    assert {(F.relu, "inplace"), (F.dropout, "training"), (F.kl_div, "log_target")} <= set(FUNCTIONS)
    with pytest.raises(TypeError, match="relu: inplace is True or False, not 0"):
        F.relu([1.0], 0)
    assert F.relu([-1.0], np.bool_(False)).tolist() == [0.0]
    assert pickle.loads(pickle.dumps(F.relu)) is F.relu


@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
def test_an_ignored_index_is_an_integer(loss):
    for wrong in (1.0, "1", Tensor(1.0, requires_grad=True), True):
        with pytest.raises(TypeError, match=f"{loss.__name__}: ignore_index is an integer, not"):
            loss([[0.1, 0.9]], [1], ignore_index=wrong)


@pytest.mark.parametrize(
    "layer",
    [x for x in LAYERS if inspect.isfunction(x.__init__) and not inspect.getfullargspec(x.__init__).varkw],
    ids=lambda layer: layer.__name__,
)
def test_an_argument_that_a_layer_does_not_take_is_an_error_that_names_the_layer_and_what_it_takes(layer):
    with pytest.raises(TypeError, match=f"{layer.__name__}: got an unexpected keyword argument 'wrong'; it takes"):
        layer(**required(layer), wrong=1)


def test_a_ninth_argument_by_position_of_a_layer_that_takes_eight_names_the_layer_and_what_it_takes():
    with pytest.raises(TypeError, match=r"^LSTM: too many positional arguments; it takes \(input_size, hidden_size, "):
        nn.LSTM(2, 3, 1, True, False, 0.0, False, 0, 0)


REFUSED = [
    (nn.CrossEntropyLoss, {}, "weight", "many"),
    (nn.NLLLoss, {}, "weight", object()),
    (nn.BCELoss, {}, "weight", "many"),
    (nn.BCEWithLogitsLoss, {}, "pos_weight", {"a": 1}),
    (nn.MultiMarginLoss, {}, "weight", "many"),
    (nn.FocalLoss, {}, "alpha", "large"),
    (nn.CrossEntropyLoss, {}, "ignore_index", "none"),
    (nn.NLLLoss, {}, "ignore_index", -3.5),
    (nn.AvgPool1d, {"kernel_size": 2}, "divisor_override", 2.0),
    (nn.AvgPool3d, {"kernel_size": 2}, "divisor_override", 0),
    (nn.Upsample, {}, "size", "large"),
    (nn.Upsample, {}, "size", (4, -1)),
    (nn.RBF, {}, "centres", "many"),
    (nn.RBF, {"centres": [[0.0]]}, "width", "large"),
    (partial(optim.LBFGS, [Tensor(1.0, requires_grad=True)]), {}, "max_iter", "many"),
]


@pytest.mark.parametrize(("made", "others", "name", "wrong"), REFUSED, ids=lambda v: v if isinstance(v, str) else "")
def test_a_wrong_option_is_refused_by_name_where_it_is_given_and_not_only_where_it_is_used(made, others, name, wrong):
    layer = getattr(made, "__name__", "LBFGS")
    with pytest.raises((TypeError, ValueError), match=f"{layer}: {name} "):
        made(**others, **{name: wrong})


@pytest.mark.parametrize("layer", [nn.Linear(2, 3), nn.BatchNorm1d(3), nn.CrossEntropyLoss()], ids=repr)
def test_a_forward_without_return_is_named_as_what_it_is(layer):
    with pytest.raises(
        TypeError, match="got None where a Tensor is expected; a forward that makes it ends in `return`"
    ):
        layer(*[None, [1]][: 2 if isinstance(layer, nn.CrossEntropyLoss) else 1])


def test_a_layer_from_code_without_a_module_name_is_a_layer():
    names = {"nn": nn}
    exec("class Twice(nn.Module):\n    def __init__(self, k): super().__init__(); self.k = k\n"
         "    def forward(self, x): return x * self.k", names)  # fmt: skip
    names["Twice"].__init__.__module__ = None
    assert names["Twice"](2)(np.float64(3.0)) == 6
