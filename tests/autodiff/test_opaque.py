"""Functions that an array type which is not NumPy's is given whole."""

from __future__ import annotations

import numpy as np
import pytest

from autodiff.opaque import Opaque, opaque
from autodiff.tensor import wrap
from tests.stand_in import StandIn, watching


def added(a, b, index=None, scale=1.0):
    return (a + (b if index is None else b[index])) * scale


whole = opaque(added, "added", "an example")


def test_numpy_arrays_are_given_to_the_function_itself():
    with watching() as log:
        assert whole(np.ones(2), np.ones(2), scale=3.0).tolist() == [6, 6]
    assert log.calls == []


def test_another_array_type_gets_one_call():
    with watching() as log:
        found = whole(StandIn(np.ones(2)), np.ones(2), scale=3.0)
    assert type(found) is StandIn and found.value.tolist() == [6, 6] and log.calls == ["added"]


def test_arrays_among_the_options_are_handed_on_by_position():
    with watching() as log:  # the stand-in refuses them by name
        found = Opaque(added, "added", "an example")(
            np.ones(2), np.arange(3.0), index=StandIn(np.array([2, 0])), scale=2.0
        )
        also = whole(StandIn(np.ones(2)), np.arange(3.0), index=StandIn(np.array([2, 0])), scale=2.0)
    assert found.value.tolist() == also.value.tolist() == [6, 2] and log.calls == ["added"] * 2


def test_an_array_in_a_tuple_is_found():
    part = Opaque(lambda a, index: a[index], "part", "an example")
    assert part(np.arange(6.0).reshape(2, 3), (slice(None), StandIn(np.array([2])))).value.tolist() == [[2], [5]]


def test_tensors_are_given_to_the_function_which_records_what_it_does():
    with watching() as log:
        found = whole(wrap(StandIn(np.ones(2))), wrap(StandIn(np.ones(2))))
    assert found._ndarray.value.tolist() == [2, 2] and log.calls == []


def test_an_array_type_that_does_not_take_it_is_an_error_with_the_reason():
    class Other:
        __array_ufunc__ = None
        shape = dtype = ()

        def __array_function__(self, *args):
            return NotImplemented

        __array_ufunc__ = __array_function__

    with pytest.raises(TypeError, match=r"^added: runs on NumPy's arrays alone, not on Other \(an example\)$"):
        whole(Other(), np.ones(2))


def test_several_results_are_a_tuple():
    found = Opaque(lambda a: (a + 1, a * 2), "both", "an example")(StandIn(np.ones(2)))
    assert [f.value.tolist() for f in found] == [[2, 2], [2, 2]]


def test_a_function_without_a_reason_stays_as_it_is():
    assert opaque(added, "added", "") is added
