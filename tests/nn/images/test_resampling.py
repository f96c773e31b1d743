"""Other sizes: PyTorch's numbers to second order for every mode and option, errors."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import nn
import nn.functional as F
from tests.against_torch import agrees_with_torch, same_layer
from tests.nn.images.test_pooling import both, values


@pytest.mark.parametrize("lengths", [(5,), (4, 5), (2, 3, 4)])
@pytest.mark.parametrize("options", [
    dict(scale_factor=2), dict(scale_factor=3.0), dict(scale_factor=1), dict(scale_factor=1.7), dict(scale_factor=0.6),
    dict(size=7), dict(size=3), dict(size=10), dict(scale_factor=2.3, recompute_scale_factor=True),
], ids=str)  # fmt: skip
def test_enlarging_equals_pytorch_s_to_second_order(lengths, options):
    same_layer(*both("Upsample", **options), values(2, 3, *lengths))


@given(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.tuples(st.integers(1, 90), st.integers(1, 90)))
@settings(deadline=None, max_examples=60)
def test_any_size_has_pytorch_s_nearest_elements(lengths, size):
    torch = pytest.importorskip("torch")
    x = np.arange(float(np.prod(lengths))).reshape(1, 1, *lengths)
    np.testing.assert_array_equal(
        F.interpolate(x, size).data, torch.nn.functional.interpolate(torch.tensor(x), size).numpy()
    )


@given(st.integers(1, 40), st.floats(0.05, 5))
@settings(deadline=None, max_examples=60)
def test_any_scale_has_pytorch_s_nearest_elements(length, scale):
    torch = pytest.importorskip("torch")
    assume(int(length * scale) > 0)
    x = np.arange(float(length)).reshape(1, 1, length)
    theirs = torch.nn.functional.interpolate(torch.tensor(x), scale_factor=scale).numpy()
    np.testing.assert_array_equal(F.interpolate(x, scale_factor=scale).data, theirs)


MODES = [("linear", (5,)), ("bilinear", (4, 5)), ("bicubic", (4, 5)), ("trilinear", (2, 3, 4)), ("area", (5,)), ("area", (4, 5)),
         ("area", (2, 3, 4)), ("nearest-exact", (5,)), ("nearest-exact", (4, 5)), ("nearest-exact", (2, 3, 4))]  # fmt: skip
CORNERS = ("linear", "bilinear", "bicubic", "trilinear")


@pytest.mark.parametrize(("mode", "lengths"), MODES)
@pytest.mark.parametrize("options", [
    dict(scale_factor=2), dict(scale_factor=1.7), dict(scale_factor=0.6), dict(size=7), dict(size=1), dict(size=3),
    dict(scale_factor=2.3, recompute_scale_factor=True),
], ids=str)  # fmt: skip
def test_every_mode_equals_pytorch_s_to_second_order(mode, lengths, options):
    for corners in (None, True) if mode in CORNERS else (None,):
        layer, reference = both("Upsample", **options, mode=mode, align_corners=corners)
        same_layer(layer, reference, values(2, 3, *lengths))
        assert layer(np.ones((0, 3, *lengths), "float32")).shape[0] == 0
        assert repr(layer) == repr(reference)


@given(st.sampled_from(["bilinear", "bicubic"]), st.tuples(st.integers(1, 20), st.integers(1, 20)),
       st.tuples(st.integers(1, 20), st.integers(1, 20)), st.booleans(), st.booleans())  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_any_size_has_pytorch_s_sums_and_gradients(mode, lengths, size, corners, antialias):
    torch = pytest.importorskip("torch")
    how = dict(size=size, mode=mode, align_corners=corners, antialias=antialias)
    agrees_with_torch(
        lambda a: F.interpolate(a, **how), lambda a: torch.nn.functional.interpolate(a, **how), values(1, 2, *lengths), second=False,
    )  # fmt: skip


def test_what_has_no_weight_in_a_sum_does_not_enter_it():
    x = np.array([[[1.0, np.inf, 3.0]]])
    np.testing.assert_array_equal(
        F.interpolate(x, 5, mode="linear", align_corners=True).data[0, 0], [1, np.inf, np.inf, np.inf, 3]
    )


def test_half_precision_is_summed_in_single():
    x = values(1, 1, 9).astype(np.float16)
    y = F.interpolate(x, 20, mode="linear")
    assert y.dtype == np.float16
    np.testing.assert_array_equal(
        y.data, F.interpolate(x.astype(np.float32), 20, mode="linear").data.astype(np.float16)
    )


X = np.ones((2, 3, 6, 6), "float32")


@pytest.mark.parametrize(("error", "message", "call"), [
    (ValueError, r"Upsample: takes size or scale_factor", lambda: nn.Upsample()),
    (ValueError, r"Upsample: takes either size or scale_factor", lambda: nn.Upsample(2, 2)(X)),
    (ValueError, r"Upsample: mode is 'nearest', .*, not 'cubic'", lambda: nn.Upsample(scale_factor=2, mode="cubic")),
    (ValueError, r"Upsample: align_corners does not go with", lambda: nn.Upsample(scale_factor=2, align_corners=True)),
    (ValueError, r"Upsample: got input of shape \(6, 6\)", lambda: nn.Upsample(scale_factor=2)(X[0, 0])),
    (ValueError, r"Upsample: scale_factor is one number or 2", lambda: nn.Upsample(scale_factor=(2, 2, 2))(X)),
    (ValueError, r"Upsample: scale_factor is positive and finite", lambda: nn.Upsample(scale_factor=-1)),
    (ValueError, r"interpolate: got input of shape .* for an output of spatial shape \(0, 0\)", lambda: F.interpolate(X, scale_factor=0.1)),
    (ValueError, r"interpolate: recompute_scale_factor goes with scale_factor", lambda: F.interpolate(X, 2, recompute_scale_factor=True)),
    (TypeError, r"interpolate: got input of .*int64", lambda: F.interpolate(X.astype(int), 2)),
    (ValueError, r"Upsample: align_corners does not go with mode 'area'", lambda: nn.Upsample(2, mode="area", align_corners=False)),
    (ValueError, r"Upsample: got input of shape .*expects \(N, C, H, W\) with mode 'bicubic'", lambda: nn.Upsample(2, mode="bicubic")(X[0])),
    (ValueError, r"interpolate: antialias goes with mode 'bilinear' or 'bicubic', not 'nearest'", lambda: F.interpolate(X, 2, antialias=True)),
    (ValueError, r"interpolate: mode is", lambda: F.interpolate(X, 2, mode=None)),
])  # fmt: skip
def test_an_error_names_the_layer_what_it_got_and_what_it_expects(error, message, call):
    with pytest.raises(error, match=message):
        call()
