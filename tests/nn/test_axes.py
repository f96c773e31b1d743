"""What is written once for one, two and three axes: names, signatures, help and errors of each."""

import inspect
import pickle

import numpy as np
import pytest

import nn
import nn.functional as F
from nn.axes import written

FUNCTIONS = [
    f"{name}{n}d"
    for name in ("conv", "conv_transpose", "max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool")
    for n in (1, 2, 3)
]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_has_its_own_name_signature_and_help_and_can_be_pickled(name):
    function = getattr(F, name)
    assert function.__name__ == function.__qualname__ == name
    assert next(iter(inspect.signature(function).parameters)) == "input"
    assert pickle.loads(pickle.dumps(function)) is function
    assert f">>> {name}(" in function.__doc__ and "{" not in function.__doc__


@pytest.mark.parametrize("name", FUNCTIONS)
def test_python_s_errors_about_arguments_call_it_by_its_own_name(name):
    with pytest.raises(TypeError, match=rf"^{name}\(\) got an unexpected keyword argument 'strides'"):
        getattr(F, name)(np.ones((1, 1, 4)), 2, strides=3)


def test_layers_have_their_own_help():
    assert "(N, C, D, H, W)" in nn.Conv3d.__doc__ and "(N, C, L)" in nn.Conv1d.__doc__
    assert not issubclass(nn.Conv3d, nn.Conv2d) and repr(nn.MaxPool3d(2)).startswith("MaxPool3d(")


def test_a_text_of_n_axes_says_lengths_and_repeats():
    assert written("(N, {L}), ({2 ...}), {other}", 3) == "(N, D, H, W), (2, 2, 2), {other}"
