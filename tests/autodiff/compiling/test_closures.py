"""What a compiled function reads beside its arguments is seen when it changes, wherever it is kept."""

import contextvars
import dataclasses
import functools
import sys
import types
import weakref
import zlib
from array import array
from collections import OrderedDict, UserDict, defaultdict, deque

import numpy as np
import pytest

import autodiff as ad
import nn
from autodiff.compiling.tracer import TraceError

X = np.arange(1.0, 4.0)
GIVEN = contextvars.ContextVar("GIVEN", default=2.0)
module = types.ModuleType("a_module_of_the_users")
module.__file__ = __file__
exec(
    """
class Plain: scale = 2.0
class Holder:
    def __init__(self): self.rate = 2.0
held = Holder()
def by_object(x): return x * held.rate
def by_class(x): return x * Plain.scale
""",
    vars(module),
)
for _f in (module.by_object, module.by_class, module.Holder.__init__):
    _f.__code__ = _f.__code__.replace(co_filename=__file__)
sys.modules[module.__name__] = module


class Meter:
    width = 2.0
    _height = 2.0

    @property
    def height(self):
        return self._height

    @staticmethod
    def doubled(x):
        return x * Meter.width

    @classmethod
    def measured(cls, x):
        return x * cls.width

    def times(self, x):
        return x * 2


class Slotted:
    __slots__ = ("kept", "later")

    def __init__(self):
        self.kept = 2.0


@dataclasses.dataclass(slots=True)
class Record:
    part: float = 2.0


@dataclasses.dataclass(frozen=True, eq=False)
class Key:
    part: object


class Heaps(list):
    """A list that keeps more than what it holds."""

    def over(self, x):
        return x * self.height


class Table(dict):
    """A mapping that keeps more than what it holds."""


class Stretched(np.ndarray):
    """An array that keeps more than its numbers."""


class Turned(Meter):
    def times(self, x):
        return x * 13


class Measure:
    """Gives what it keeps to those who ask their class."""

    def __init__(self):
        self.amount = 2.0

    def __get__(self, instance, owner):
        return self.amount


class Measured:
    by = Measure()


class Kind(type):
    """A class of classes."""

    @property
    def doubled(cls):
        return 2 * cls.breadth


class OfKind(metaclass=Kind):
    breadth = 1.0


class Hidden:
    """Its number is read by its own method alone."""

    def __init__(self):
        self.depth = 2.0

    def deepened(self, x):
        return x * self.depth


FACTOR = 2.0


def scaled(x, by=2.0):
    return x * by


def lengthened(x, *, by=2.0):
    return x * by


def attributed(x):
    return x * attributed.by


def made(change):
    """A function, and what changes something that it reads."""
    o, s, r = Meter(), Slotted(), Record()
    kept = {
        "set": {1, 2}, "deque": deque([1.0]), "bytes": bytearray(b"\2"), "numbers": array("d", [2.0]),
        "dict": {"a": 1.0, "b": 2.0}, "ordered": OrderedDict(a=1.0, b=2.0), "users": UserDict(a=1.0),
        "complex": np.array([1 + 1j]), "objects": np.array([1.0, 2.0], object), "times": np.array(["2020"], "M8[Y]"),
        "memory": memoryview(np.ones(1)), "nested": [[np.ones(2)]] * 70,
        "pair": (1.0, [2.0]), "flat": np.arange(6.0), "masked": np.ma.array([1.0, 2.0], mask=[0, 1]),
        "heaps": Heaps(), "table": Table(), "stretched": np.ones(2).view(Stretched),
    }  # fmt: skip
    for part in ("heaps", "table", "stretched"):
        kept[part].height = 2.0
    local = type("Local", (), {"width": 2.0})
    attributed.by = 2.0
    if change == "order of a dict":
        return lambda x: x * next(iter([*kept["dict"].values()])), lambda: kept["dict"].update(a=kept["dict"].pop("a"))
    return {
        "the shape of an array": (lambda x: x * kept["flat"].ndim, lambda: setattr(kept["flat"], "shape", (2, 3))),
        "the mask of an array": (
            lambda x: x * kept["masked"].filled(0).sum(), lambda: setattr(kept["masked"], "mask", [1, 0]),
        ),
        "an attribute of a list": (lambda x: kept["heaps"].over(x), lambda: setattr(kept["heaps"], "height", 3.0)),
        "an attribute of a dict": (lambda x: x * kept["table"].height, lambda: setattr(kept["table"], "height", 3.0)),
        "an attribute of an array": (
            lambda x: x * kept["stretched"].height, lambda: setattr(kept["stretched"], "height", 3.0),
        ),
        "the class of an object": (lambda x: o.times(x), lambda: setattr(o, "__class__", Turned)),
        "what a descriptor keeps": (
            lambda x, m=Measured(): x * m.by, lambda: setattr(vars(Measured)["by"], "amount", Measured.by + 1),
        ),
        "a name in a text that is code": (
            lambda x: eval("x * FACTOR"), lambda: globals().update(FACTOR=FACTOR + 1),
        ),
        "a set": (lambda x: x * len(kept["set"]), lambda: kept["set"].add(3)),
        "a deque": (lambda x: x * kept["deque"][0], lambda: kept["deque"].__setitem__(0, 9.0)),
        "a bytearray": (lambda x: x * kept["bytes"][0], lambda: kept["bytes"].__setitem__(0, 9)),
        "an array of numbers": (lambda x: x * kept["numbers"][0], lambda: kept["numbers"].__setitem__(0, 9.0)),
        "a memoryview": (lambda x: x * kept["memory"][0], lambda: kept["memory"].__setitem__(0, 9.0)),
        "an ordered dict": (lambda x: x * next(iter(kept["ordered"].values())), lambda: kept["ordered"].move_to_end("a")),
        "a dict of the library": (lambda x: x * kept["users"]["a"], lambda: kept["users"].__setitem__("a", 5.0)),
        "a complex array": (lambda x: x * kept["complex"].real, lambda: kept["complex"].__setitem__(0, 9)),
        "an array of objects": (lambda x: x * kept["objects"][0], lambda: kept["objects"].__setitem__(0, 9.0)),
        "an array of times": (lambda x: x * kept["times"].astype(int), lambda: kept["times"].__setitem__(0, "2030")),
        "an array in lists": (lambda x: x * kept["nested"][65][0][1], lambda: kept["nested"][65][0].__setitem__(1, 7)),
        "a slot": (lambda x: x * s.kept, lambda: setattr(s, "kept", 3.0)),
        "a slot that appears": (lambda x: x * getattr(s, "later", 1.0), lambda: setattr(s, "later", 3.0)),
        "a record with slots": (lambda x: x * r.part, lambda: setattr(r, "part", 3.0)),
        "a property": (lambda x: x * o.height, lambda: setattr(o, "_height", 3.0)),
        "a default of the class": (lambda x: x * o.width, lambda: setattr(o, "width", 3.0)),
        "an attribute that appears": (lambda x: x * (3 if hasattr(o, "more") else 2), lambda: setattr(o, "more", 1)),
        "a name that is computed": (lambda x: x * getattr(o, "wid" + "th"), lambda: setattr(o, "width", 3.0)),
        "a method of an object": (lambda x: o.times(x), lambda: setattr(o, "times", lambda x: x * 7)),
        "a class in a cell": (lambda x: x * local.width, lambda: setattr(local, "width", 3.0)),
        "an attribute of a class that appears": (
            lambda x: x * (3 if hasattr(local, "more") else 2), lambda: setattr(local, "more", 1),
        ),
        "a default": (lambda x: scaled(x), lambda: setattr(scaled, "__defaults__", (5.0,))),
        "a default of a keyword": (lambda x: lengthened(x), lambda: setattr(lengthened, "__kwdefaults__", {"by": 5.0})),
        "what a tuple holds": (lambda x: x * kept["pair"][1][0], lambda: kept["pair"][1].__setitem__(0, 5.0)),
        "an attribute of a function": (attributed, lambda: setattr(attributed, "by", 3.0)),
        "a weak reference": (lambda x, w=weakref.ref(o): x * w().width, lambda: setattr(o, "width", 3.0)),
        "a context variable": (lambda x: x * GIVEN.get(), lambda: GIVEN.set(3.0)),
        "a partial's": (functools.partial(lambda d, x: x * d["a"], kept["dict"]), lambda: kept["dict"].update(a=9.0)),
        "an object of another module": (
            lambda x: module.by_object(x), lambda: setattr(module.held, "rate", module.held.rate + 1),
        ),
        "a class of another module": (
            lambda x: module.by_class(x), lambda: setattr(module.Plain, "scale", module.Plain.scale + 1),
        ),
    }[change]  # fmt: skip


CHANGES = [
    "a set", "a deque", "a bytearray", "an array of numbers", "a memoryview", "an ordered dict", "order of a dict",
    "a dict of the library", "a complex array", "an array of objects", "an array of times", "an array in lists",
    "a slot", "a slot that appears", "a record with slots", "a property", "a default of the class",
    "an attribute that appears", "a name that is computed", "a method of an object", "a class in a cell", "a default", "a default of a keyword", "what a tuple holds",
    "an attribute of a class that appears",
    "an attribute of a function", "a weak reference", "a context variable", "a partial's",
    "an object of another module", "a class of another module", "the shape of an array", "the mask of an array",
    "an attribute of a list", "an attribute of a dict", "an attribute of an array", "the class of an object",
    "what a descriptor keeps", "a name in a text that is code",
]  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_of_what_is_closed_over_is_seen(what):
    f, change = made(what)
    compiled = ad.compile(f)
    before = compiled(X)
    np.testing.assert_array_equal(compiled(X), before)
    assert len(compiled.programs) == 1
    change()
    assert not np.array_equal(f(X), before)
    np.testing.assert_array_equal(compiled(X), f(X))


def hooked(hidden):
    t = ad.Tensor(np.ones(3), requires_grad=True)
    t.register_hook(lambda g: hidden.deepened(g))
    return lambda x: ad.grad(lambda t: (t * x).sum())(t)


HOLDERS = {
    "a default": lambda h: lambda x, held=h: held.deepened(x),
    "a default of a keyword": lambda h: lambda x, *, held=h: held.deepened(x),
    "a dict with a default": lambda h: (lambda held: lambda x: held["a"].deepened(x))(defaultdict(list, a=h)),
    "an ordered dict": lambda h: (lambda held: lambda x: held["a"].deepened(x))(OrderedDict(a=h)),
    "an array of objects": lambda h: (lambda held: lambda x: held[0].deepened(x))(np.array([h], object)),
    "a weak reference": lambda h: (lambda held: lambda x: held().deepened(x))(weakref.ref(h)),
    "a hook": hooked,
}


@pytest.mark.parametrize("where", HOLDERS)
def test_what_a_method_reads_is_seen_wherever_its_object_is_kept(where):
    hidden = Hidden()
    f = HOLDERS[where](hidden)
    compiled = ad.compile(f)
    np.testing.assert_array_equal(compiled(X), f(X))
    hidden.depth = 7.0
    np.testing.assert_array_equal(compiled(X), f(X))


class Bare:
    """What it keeps is named by others."""


def girth_of(bare):
    return bare.girth


def test_what_a_function_that_is_met_later_reads_is_seen():
    bare = Bare()
    bare.girth = 2.0
    compiled = ad.compile(lambda x: x * girth_of(bare))
    np.testing.assert_array_equal(compiled(X), 2 * X)
    bare.girth = 3.0
    np.testing.assert_array_equal(compiled(X), 3 * X)


def test_what_the_class_of_a_class_reads_is_seen(monkeypatch):
    compiled = ad.compile(lambda x: x * OfKind.doubled)
    np.testing.assert_array_equal(compiled(X), 2 * X)
    monkeypatch.setattr(OfKind, "breadth", 3.0)
    np.testing.assert_array_equal(compiled(X), 6 * X)


@pytest.mark.parametrize("name", ["doubled", "measured", "times"])
def test_class_and_static_methods_and_replaced_methods_are_seen(name, monkeypatch):
    o = Meter()
    compiled = ad.compile(
        {"doubled": lambda x: o.doubled(x), "measured": lambda x: o.measured(x), "times": o.times}[name]
    )
    np.testing.assert_array_equal(compiled(X), 2 * X)
    monkeypatch.setattr(Meter, "width", 3.0)
    np.testing.assert_array_equal(compiled(X), getattr(o, name)(X))
    if name != "times":  # which was taken from the object before
        monkeypatch.setattr(Meter, name, lambda self, x: x * 11)
        np.testing.assert_array_equal(compiled(X), 11 * X)


def test_a_function_that_hides_one_of_pythons_own_is_seen(monkeypatch):
    compiled = ad.compile(lambda x: x * abs(-2))
    np.testing.assert_array_equal(compiled(X), 2 * X)
    monkeypatch.setitem(globals(), "abs", lambda x: 5)
    np.testing.assert_array_equal(compiled(X), 5 * X)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.append(nn.ReLU()),
        lambda m: m[0].register_forward_hook(lambda module, given, y: y * 100),
        lambda m: m[0].register_forward_pre_hook(lambda module, given: (given[0] * 3,)),
        lambda m: setattr(m[0], "forward", lambda x: x * 2),
        lambda m: m.__setitem__(1, nn.Sigmoid()),
    ],
)
def test_changes_of_a_module_are_seen(change):
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    x = ad.tensor(X.astype("f4"))

    def f(x):
        with ad.no_grad():
            return model(x)

    compiled = ad.compile(f)
    for _ in range(2):
        np.testing.assert_allclose(compiled(x).data, f(x).data, 1e-6)
    assert len(compiled.programs) == 1
    before = f(x).data
    change(model)
    np.testing.assert_allclose(compiled(x).data, f(x).data, 1e-6)
    assert not np.array_equal(compiled(x).data, before)
    hook = model[0].register_forward_hook(lambda module, given, y: y + 1)
    np.testing.assert_allclose(compiled(x).data, f(x).data, 1e-6)
    hook.remove()
    np.testing.assert_allclose(compiled(x).data, f(x).data, 1e-6)


@pytest.mark.parametrize("kept", [set(), deque(), {}, Meter(), attributed, Slotted()])
def test_what_the_function_leaves_in_what_it_reads_is_refused_and_taken_away(kept):
    def f(x):
        y = x * 2
        match kept:
            case set():
                kept.add(1)
            case deque():
                kept.append(y)
            case dict():
                kept["last"] = y
            case Slotted():
                kept.later = y
            case _:
                kept.last = y
        return y

    with pytest.raises(TraceError, match="changes"):
        ad.compile(f)(X)
    assert not hasattr(kept, "last") and not hasattr(kept, "later")
    assert not isinstance(kept, (set, dict, deque)) or not kept


@pytest.mark.parametrize(
    "result",
    [
        lambda y: types.SimpleNamespace(value=y),
        lambda y: {1: [Meter(), types.SimpleNamespace(value=ad.tensor(y))]},
        lambda y: lambda: y,
        lambda y: (v for v in (y,)),
        lambda y: functools.partial(np.add, y),
        lambda y: Record(y),
        lambda y: map(np.sin, [y]),
        lambda y: {Key(y): 1},
    ],
)
def test_a_result_in_which_arrays_are_hidden_is_refused(result):
    with pytest.raises(TraceError, match="returns a "):
        ad.compile(lambda x: result(x * 2))(X)


def test_a_result_of_any_kind_without_arrays_is_given_as_it_is():
    kept = Meter()
    for result in (kept, "text", None, {"a": (1, 2.0)}, Meter, np.sin, len, slice(1), X.dtype, {1, 2}):
        assert ad.compile(lambda x, result=result: (result, x * 2))(X)[0] == result


def test_more_objects_than_can_be_watched_are_refused():
    many = [[i] for i in range(30000)]
    with pytest.raises(TraceError, match="so many objects"):
        ad.compile(lambda x: x * many[-1][0])(X)


def test_programs_for_objects_that_are_made_for_every_call_are_not_kept_for_ever():
    alive = weakref.WeakSet()
    compiled = ad.compile(lambda x, o: x * o.width)
    with pytest.warns(UserWarning, match="programs now"):
        for _ in range(130):
            o = Meter()
            alive.add(o)
            np.testing.assert_array_equal(compiled(X, o), 2 * X)
    del o
    assert len(compiled.programs) <= 100 and len(alive) <= 101


def test_a_global_that_has_the_name_of_an_attribute_is_not_looked_at():
    scope = {"sum": ad.compile(lambda x: x.sum())}  # a program keeps what it compares, and would compare itself
    exec("def f(x):\n    return x.sum() * 2", scope)
    f = ad.compile(scope["f"])
    for _ in range(3):
        scope["sum"](np.ones(3))
        assert f(np.ones(3)) == 6
    assert len(f.programs) == 1


def test_what_a_compiled_function_inside_reads_is_compared():
    scale = 2.0
    inner = ad.compile(lambda x: scale * x)
    outer = ad.compile(lambda x: inner(x) + 1)
    primitive = ad.primitive(lambda x: scale * x**3, name="scaled cube", vjps=[lambda g, y, x: g * 3 * scale * x**2])
    slope = ad.compile(ad.grad(primitive))
    x = np.array(1.0)
    inner(x)
    assert (outer(x), slope(x)) == (3, 6)
    scale = 3.0
    assert (outer(x), slope(x)) == (4, 9)


def test_what_a_rule_of_the_users_own_closes_over_is_compared():
    factor = 2.0
    scaled = ad.primitive(lambda x: factor * x, name="scaled_by_factor", vjps=[lambda g, y, x: factor * g])

    def loss(x):
        return ad.tanh(scaled(x)).sum()

    slope, x = ad.compile(ad.grad(loss)), np.array([0.1, 0.2])
    for factor in (2.0, 2.0, 3.0):
        np.testing.assert_allclose(slope(x), factor / np.cosh(factor * x) ** 2, rtol=1e-14)
    assert len(slope.programs) == 2


def test_what_a_trace_that_came_to_nothing_assigned_is_done_once_by_the_call_that_is_run_as_it_is():
    number, kept, model = 0, [1.0], types.SimpleNamespace(last=None, seen={})

    def f(x):
        nonlocal number
        number += 1
        kept.append(x.sum())
        kept[0] += 1
        model.last = model.seen["x"] = x * number
        return x * len(kept)

    compiled = ad.compile(f, on_unsupported="eager")
    for n in (1, 2, 3):
        np.testing.assert_array_equal(compiled(X), X * (n + 1))
        np.testing.assert_array_equal(model.last, X * n)
        assert number == n and kept == [1.0 + n] + n * [6.0] and list(model.seen) == ["x"]
    with pytest.raises(TraceError, match="changes"):
        ad.compile(f)(X)
    assert number == 3 and len(kept) == 4 and type(model.last) is type(model.seen["x"]) is np.ndarray


# Large arrays


def numbers(n=1 << 14):
    return np.arange(float(n))


def test_large_arrays_are_read_by_the_program_wherever_they_stand():
    held = types.SimpleNamespace(w=numbers(), table={"k": numbers()}, rows=[numbers()])
    x, cell = numbers(), numbers().reshape(128, 128)

    def f(x):
        return x * held.w + held.table["k"][:3].sum() + held.rows[0][-1] + cell.T.sum()

    compiled = ad.compile(f)
    for large in (cell, held.w, held.table["k"], held.rows[0], cell):
        large.reshape(-1)[:: len(large) - 1] += 1
        np.testing.assert_array_equal(compiled(x), f(x))
    assert len(compiled.programs) == 1 and "def f(x, cell, held_w" in compiled.source
    held.w = numbers() + 1
    np.testing.assert_array_equal(compiled(x), f(x))
    assert type(cell) is np.ndarray and type(held.rows[0]) is np.ndarray


@pytest.mark.parametrize("of", [
    lambda w: lambda x: x * float(np.asarray(w)[0]), lambda w: functools.partial(lambda w, x: x * w[0], w),
    lambda w: lambda x, w=w: x * w[0], lambda w: lambda x, both=(w, 1): x * both[0][0] + w[0],
    lambda w: lambda x: x * zlib.crc32(memoryview(w)),
])  # fmt: skip
def test_large_arrays_that_cannot_be_replaced_for_a_trace_are_compared(of):
    w = numbers()
    f = of(w)
    compiled = ad.compile(f)
    for _ in range(3):
        w[0] += 1
        np.testing.assert_array_equal(compiled(X), f(X))


def test_a_large_array_that_is_written_or_assigned_inside_is_as_it_was_after_a_refusal():
    w, v = numbers(), numbers()

    def written(x):
        w[...] = w + x
        return w

    def assigned(x):
        nonlocal v
        v = v + x
        return x * 2

    for f in (written, assigned):
        with pytest.raises(TraceError):
            ad.compile(f)(numbers())
        assert type(w) is np.ndarray and type(v) is np.ndarray
        with pytest.raises(ZeroDivisionError):
            ad.compile(lambda x, w=w: (w * x, v * x, 1 / 0))(numbers())
        assert type(v) is np.ndarray
    compiled = ad.compile(assigned, on_unsupported="eager")
    compiled(numbers())
    before = v.copy()
    compiled(numbers())
    np.testing.assert_array_equal(v, before + numbers())


def test_a_large_array_that_is_an_argument_too_is_read_after_it_was_written():
    w, v = numbers(), numbers()

    def of(w):
        def f(x):
            x += 1
            return x * w

        return f

    compiled, eager = ad.compile(of(w)), of(v)
    for _ in range(2):
        np.testing.assert_array_equal(compiled(w), eager(v))
        np.testing.assert_array_equal(w, v)


def test_long_lists_and_dicts_of_numbers_are_compared():
    values, table = list(range(1000)), {f"k{i}": float(i) for i in range(1000)}

    def f(x):
        return x * values[7] + table["k3"]

    compiled = ad.compile(f)
    for change in (lambda: None, lambda: values.__setitem__(7, 8), lambda: table.update(k3=0.0),
                   lambda: table.update(k3=-0.0), lambda: values.__setitem__(7, 8.0)):  # fmt: skip
        change()
        found, expected = compiled(X.astype("i8")), f(X.astype("i8"))
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_a_model_that_was_used_for_long_is_compiled_as_ever_and_read_by_name_too():
    model = nn.Sequential(*[nn.Linear(3, 3) for _ in range(30)])
    x = X.astype("f4")
    for _ in range(200):
        model(x)
    for f in (lambda x: model(x).data, lambda x: getattr(model, "for" + "ward")(x).data):
        compiled = ad.compile(f)
        np.testing.assert_allclose(compiled(x), f(x), rtol=1e-6)
        np.testing.assert_allclose(compiled(x + 1), f(x + 1), rtol=1e-6)
        assert len(compiled.programs) == 1


def modules_and_mappings():
    by_hand, inner = types.ModuleType("settings"), types.ModuleType("inner")
    by_hand.rate = inner.rate = 2.0
    by_hand.inner = inner
    by_hand.scaled = eval("lambda x: x * offset", vars(by_hand))
    by_hand.scaled.__code__ = by_hand.scaled.__code__.replace(co_filename=__file__)
    by_hand.offset = 2.0
    options = {"rate": 2.0, "inner": {"rate": 2.0}}
    shown = types.MappingProxyType(options)
    return [
        (lambda x: x * by_hand.rate, lambda: setattr(by_hand, "rate", 3.0)),
        (lambda x: x * by_hand.inner.rate, lambda: setattr(inner, "rate", 3.0)),
        (lambda x: by_hand.scaled(x), lambda: setattr(by_hand, "offset", 3.0)),
        (lambda x: x * module.held.rate, lambda: setattr(module.held, "rate", 3.0)),
        (lambda x: x * shown["rate"], lambda: options.update(rate=3.0)),
        (lambda x: x * shown["inner"]["rate"], lambda: options["inner"].update(rate=3.0)),
        (lambda x: x * len(shown), lambda: options.update(more=1)),
    ]


@pytest.mark.parametrize("place", range(7))
def test_modules_made_by_hand_and_read_only_mappings_are_compared(place):
    f, change = modules_and_mappings()[place]
    compiled = ad.compile(f)
    np.testing.assert_array_equal(compiled(X), f(X))
    np.testing.assert_array_equal(compiled(X), 2 * X)
    try:
        change()
        np.testing.assert_array_equal(compiled(X), 3 * X)
    finally:
        module.held.rate = 2.0


def test_a_module_that_is_exchanged_is_seen():
    first, second = types.ModuleType("a"), types.ModuleType("b")
    first.rate, second.rate = 2.0, 3.0
    used = first
    compiled = ad.compile(lambda x: x * used.rate)
    np.testing.assert_array_equal(compiled(X), 2 * X)
    used = second
    np.testing.assert_array_equal(compiled(X), 3 * X)
