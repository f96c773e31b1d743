"""What a function's derivatives are, in arbitrary precision."""

import mpmath
import numpy as np

import autodiff as ad


def derivatives_agree(ours, theirs, points, orders=(0, 1, 2, 3), rtol=1e-11, digits=40):
    """At every point, our derivatives by its last coordinate of all orders are mpmath's of the function `theirs`.

    `points` are tuples of numbers; `ours` takes arrays, `theirs` mpmath's numbers.
    """
    *fixed, moving = [np.array(c, float) for c in zip(*points)]
    x = ad.Tensor(moving, requires_grad=True)
    y = ours(*fixed, x)
    with mpmath.workdps(digits):
        for order in range(max(orders) + 1):
            if order in orders:
                expected = [
                    float(mpmath.re(mpmath.diff(lambda t, p=p: theirs(*map(mpmath.mpf, p[:-1]), t), p[-1], order)))
                    for p in points
                ]
                np.testing.assert_allclose(y.numpy(), expected, rtol=rtol, atol=1e-50, err_msg=f"derivative {order}")
            if order < max(orders):
                with np.errstate(all="ignore"):
                    (y,) = ad.gradients(y, x, np.ones(y.shape), create_graph=True)
