"""NumPy as the judge of a function's values, shapes and dtypes, and differences as that of its derivatives."""

import warnings

import numpy as np

import autodiff as ad
from autodiff import Tensor


def look_up(name):
    """A function of NumPy by its name, ``linalg.inv``."""
    found = np
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _given(x, convert):
    if isinstance(x, np.ndarray) and x.dtype.kind in "fc":
        return convert(x)
    if type(x) in (list, tuple) and any(isinstance(v, np.ndarray) for v in x):
        return type(x)(_given(v, convert) for v in x)
    return x


def _applied(name, call, convert):
    """The call of NumPy's function with something else in place of every array of real or complex numbers."""
    function = look_up(name)
    return call(
        lambda *args, **options: function(
            *[_given(a, convert) for a in args], **{k: _given(v, convert) for k, v in options.items()}
        )
    )


def same_values(ours, theirs, what=""):
    """Ours are Tensors with the values, shapes and dtypes of NumPy's results."""
    if isinstance(theirs, (tuple, list)):
        assert len(ours) == len(theirs), what
        for o, t in zip(ours, theirs):
            same_values(o, t, what)
        return
    values, theirs = np.asarray(ours.detach() if isinstance(ours, Tensor) else ours), np.asarray(theirs)
    assert values.shape == theirs.shape and values.dtype == theirs.dtype, what
    digits = np.finfo(theirs.dtype).precision if theirs.dtype.kind in "fc" else 15
    rtol = {3: 2e-3, 6: 2e-6}.get(digits, 1e-12)
    np.testing.assert_allclose(values, theirs, rtol=rtol, atol=1e-13, err_msg=what)


def same_as_numpy(name, call, derivatives=2):
    """`call` of NumPy's function and of the same function on Tensors agree, for constants and for tensors that require
    a gradient; the derivatives up to an order, by all finite arrays in double precision among the arguments, are those of
    differences.

    Args:
        name: of NumPy's function.
        call: ``lambda f: f(a, axis=0)``.
        derivatives: 0, 1 or 2.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        theirs = call(look_up(name))
        for recorded in (False, True):
            same_values(_applied(name, call, lambda a, r=recorded: Tensor(a, requires_grad=r)), theirs, name)
        arrays = []
        _applied(name, call, lambda a: (arrays.append(a), a)[1])
        moves = lambda a: a.dtype in (np.float64, np.complex128) and np.isfinite(a).all()
        moving = [a for a in arrays if moves(a)]
        if not derivatives or not moving:
            return

        def function(*xs):
            given = iter(xs)
            y = _applied(name, call, lambda a: next(given) if moves(a) else Tensor(a))
            parts = [p for p in (y if isinstance(y, (tuple, list)) else [y]) if p.dtype.kind in "fc"]
            return ad.concatenate([ad.ravel(p) for p in parts])

        ad.gradcheck(function, moving)
        if derivatives > 1:
            ad.gradgradcheck(function, moving, rtol=1e-4)
