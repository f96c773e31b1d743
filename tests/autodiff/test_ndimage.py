"""Values between the points of an image against SciPy and differences."""

import numpy as np
import pytest
import scipy.ndimage

import autodiff as ad
from autodiff import Tensor, ndimage
from autodiff.checking.gradcheck import gradcheck, gradgradcheck

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "mode", ["constant", "grid-constant", "nearest", "mirror", "reflect", "grid-mirror", "grid-wrap"]
)
@pytest.mark.parametrize("shape", [(5,), (4, 3), (1, 3), (2, 3, 2)])
def test_values_between_points_and_outside_are_scipys(mode, shape):
    x, c = RNG.normal(size=shape), RNG.uniform(-6, 9, (len(shape), 200))
    c[:, :20] = np.round(c[:, :20])
    for order in (0, 1):
        found = ndimage.map_coordinates(x, c, order=order, mode=mode, cval=0.3)
        np.testing.assert_allclose(
            found.numpy(), scipy.ndimage.map_coordinates(x, c, order=order, mode=mode, cval=0.3), rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("mode", ["constant", "nearest", "reflect"])
def test_derivatives_by_image_and_coordinates_are_those_of_differences(mode):
    x, c = RNG.normal(size=(4, 3)), RNG.uniform(-1, 5, (2, 3, 2))
    gradcheck(lambda x, c: ndimage.map_coordinates(x, c, order=1, mode=mode), (x, c))
    gradgradcheck(lambda x, c: ndimage.map_coordinates(x, c, order=1, mode=mode), (x, c))
    gradcheck(lambda x: ndimage.map_coordinates(x, c, order=0, mode=mode), x)


def test_a_shift_is_found_by_its_gradient():
    image = np.exp(-((np.arange(40.0) - 20) ** 2) / 50)
    target = scipy.ndimage.map_coordinates(image, [np.arange(40.0) + 1.3], order=1)
    loss = lambda s: ((ndimage.map_coordinates(image, (np.arange(40.0) + s)[None], order=1) - target) ** 2).sum()
    s = 0.2
    for _ in range(60):
        s -= 4 * ad.grad(loss)(s)
    assert abs(s - 1.3) < 1e-3


def test_what_does_not_fit_is_named_and_a_coordinate_that_is_no_number_gives_none():
    with pytest.raises(ValueError, match="order=3"):
        ndimage.map_coordinates(np.ones(3), np.ones((1, 2)), order=3)
    with pytest.raises(ValueError, match=r"image of shape \(3,\) and coordinates of shape \(2, 1\)"):
        ndimage.map_coordinates(np.ones(3), np.ones((2, 1)), order=1)
    with pytest.raises(ValueError, match="'wrap'"):
        ndimage.map_coordinates(np.ones(3), np.ones((1, 1)), order=1, mode="wrap")
    y = ndimage.map_coordinates(Tensor(np.ones(3), requires_grad=True), [[np.nan, 1.0]], order=1)
    np.testing.assert_array_equal(y.numpy(), [np.nan, 1])
