"""A function that is written for one key knows exactly the arguments that have it."""

from __future__ import annotations

import collections

import numpy as np
import pytest

import autodiff as ad
from autodiff.compiling.signature import key_of, reader
from autodiff.compiling.tracer import Trace
from autodiff.mode import mode
from autodiff.tensor import wrap

Pair = collections.namedtuple("Pair", "a b")  # as users write it


class Subclass(np.ndarray):
    """An array with a life of its own."""


class Scaled(collections.namedtuple("Scaled", "a")):
    """What has methods and numbers of its class."""

    by = 2.0

    def scaled(self):
        return self.a * self.by


class Texts(dict):
    """A mapping of the user's."""


def tensor(change=lambda t: None, **options):
    t = ad.Tensor(np.ones(3), **options)
    change(t)
    return t


def hooked(t):
    t.register_hook(lambda g: g)


def graded(t, dtype=float):
    t._grad = ad.Tensor(np.ones(3, dtype))


x, f, o, s = np.ones((2, 3)), np.ones((2, 3), "f"), object(), np.ones((2, 3)).view(Subclass)
GIVEN = [
    ((), {}), ((x,), {}), ((2 * x,), {}), ((f,), {}), ((x.T,), {}), ((np.asfortranarray(x),), {}), ((x[:1],), {}),
    ((x.astype(">f8"),), {}), ((s,), {}), ((s.copy(),), {}), ((np.ones(()),), {}), ((np.float64(1),), {}),
    ((np.float32(1),), {}), ((0.0,), {}), ((-0.0,), {}), ((0,), {}), ((False,), {}), ((None,), {}), (("0",), {}),
    ((1j,), {}), ((float("nan"),), {}), ((o,), {}), ((object(),), {}), ((np.array(["a"]),), {}),
    (([x],), {}), (((x,),), {}), (([x, x],), {}), (([[x], x],), {}), (([],), {}), (((),), {}), ((Pair(x, x),), {}),
    (((x, x),), {}), (({"a": x},), {}), (({"b": x},), {}), (({"a": x, "b": x},), {}), (({"b": x, "a": x},), {}),
    ((Texts(a=x),), {}), ((collections.OrderedDict(a=x),), {}), (({},), {}), ((x, x), {}), ((x,), {"y": x}),
    ((x,), {"y": f}), ((x,), {"z": x}), ((), {"x": x}), ((x,), {"y": None}), ((tensor(),), {}),
    ((tensor(requires_grad=True),), {}), ((tensor(hooked, requires_grad=True),), {}),
    ((tensor(graded, requires_grad=True),), {}), ((tensor(lambda t: graded(t, "f"), requires_grad=True),), {}),
    ((tensor(dtype="f"),), {}), ((tensor(requires_grad=True) * 1,), {}),
]  # fmt: skip


@pytest.mark.parametrize("native", [False, True])
def test_arguments_are_known_again_where_their_keys_are_equal_and_nowhere_else(native):
    keys = [key_of(True, args, kwargs, []) for args, kwargs in GIVEN]
    assert len({*keys}) > 0.9 * len(keys)
    for key, given in zip(keys, GIVEN):
        read = reader(key, native)
        for other, (args, kwargs) in zip(keys, GIVEN):
            leaves = []
            key_of(True, args, kwargs, leaves)
            found = read(args, kwargs)
            assert found is None or (other == key and all(map(lambda a, b: a is b, found, leaves)))
            assert found is not None or other != key or collections.OrderedDict in map(type, args), given


@pytest.mark.parametrize("native", [False, True])
def test_arguments_are_not_known_in_another_grad_mode_or_inside_of_a_trace_or_a_vmap(native):
    read = reader(key_of(True, (tensor(),), {}, []), native)
    assert read((tensor(),), {}) is not None
    with ad.no_grad():
        assert read((tensor(),), {}) is None
    token = mode.set(object())
    assert read((tensor(),), {}) is None
    mode.reset(token)

    def look(t):
        assert read((t,), {}) is None and key_of(True, (t,), {}, []) is None
        return t * 2

    look(wrap(Trace().input(np.ones(3))))
    ad.vmap(look)(ad.Tensor(np.ones((2, 3))))


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_a_collection_with_attributes_is_refused_or_run_as_it_is(backend):
    def f(d):
        return d["a"] * getattr(d, "by", 1.0)

    strict, eager = ad.compile(f, backend=backend), ad.compile(f, backend=backend, on_unsupported="eager")
    given = Texts(a=x)
    for compiled in (strict, eager):
        np.testing.assert_array_equal(compiled(given), x)
        assert len(compiled.programs) == 1
    given.by = 3.0
    with pytest.raises(TypeError, match=r"a Texts that has attributes \(by\) .* give dict\(x\)"):
        strict(given)
    np.testing.assert_array_equal(eager(given), 3 * x)
    assert "1 time: an argument is a Texts that has attributes (by)" in eager.explain()
    np.testing.assert_array_equal(strict(Texts(a=x)), x)


def test_what_the_class_of_a_tuple_keeps_is_seen(monkeypatch):
    compiled = ad.compile(lambda p: p.scaled())
    np.testing.assert_array_equal(compiled(Scaled(x)), 2 * x)
    monkeypatch.setattr(Scaled, "by", 3.0)
    np.testing.assert_array_equal(compiled(Scaled(x)), 3 * x)


def test_an_array_of_objects_is_refused_with_the_way_out():
    with pytest.raises(TypeError, match="x is a ndarray of object; give an array of numbers"):
        ad.compile(lambda x: x * x[0])(np.array([1.5, 2.5], object))
