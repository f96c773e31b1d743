"""A program as machine code gives what NumPy gives, call by call."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from autodiff.compiling.native.compiled import Compiled, Unmet
from autodiff.compiling.program import Node, program_of
from autodiff.machine import arrays
from autodiff.machine.elementwise import TABLE

from .programs import Tape, agree, check

ROOT = Path(__file__).parents[4]
TYPES = {"f": np.float32, "d": np.float64, "i": np.int64, "b": np.bool_}


def numbers(shape: tuple[int, ...], dtype: type = np.float64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def everything(letter: str) -> np.ndarray:
    """Numbers of all kinds, not as many as fill vectors."""
    if letter == "b":
        return np.arange(37) % 3 == 0
    if letter == "i":
        return np.arange(-18, 19) ** 3
    ends = np.finfo(TYPES[letter])
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, ends.max, -ends.max, ends.tiny, ends.tiny / 8]
    return np.concatenate([special, numbers(25) * 3]).astype(TYPES[letter])


@pytest.mark.parametrize("letter", list(TYPES))
def test_every_elementwise_operation_is_numpys_on_numbers_of_all_kinds(letter: str) -> None:
    tape = Tape()
    x, y = tape.input(everything(letter)), tape.input(np.roll(everything(letter), 5))
    outputs = []
    for name, (types, _) in TABLE.items():
        if letter in types and name != "power":
            two = name in ("copysign", "arctan2", "hypot", "maximum", "minimum") or (
                name in ("add", "subtract", "multiply", "divide", "logical_and", "logical_or", "bitwise_and",
                         "bitwise_or", "bitwise_xor", "greater", "greater_equal", "less", "less_equal", "equal",
                         "not_equal"))  # fmt: skip
            outputs.append(tape(name, x, y) if two else tape(name, x))
    compiled = Compiled(tape.program(*outputs))
    assert "np." not in compiled.source
    for node, got in zip(outputs, compiled.run(*tape.arguments), strict=True):
        want = tape.values[id(node)]
        assert (got.dtype, got.shape) == (want.dtype, want.shape), node.op
        if want.dtype.kind != "f":
            np.testing.assert_array_equal(got, want, err_msg=node.op)
        else:
            np.testing.assert_allclose(got, want, {"f": 1e-6, "d": 4e-15}[want.dtype.char], 0, err_msg=node.op)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, -1, -2, 8, 0.5, 2.5, -0.5, 9.0, "x"])
def test_powers_are_numpys(exponent: object) -> None:
    for letter in "fd":
        tape = Tape()
        x = tape.input(everything(letter))
        y = tape("power", x, tape.input(np.roll(everything(letter), 3)) if exponent == "x" else exponent)
        (got,) = Compiled(tape.program(y)).run(*tape.arguments)
        np.testing.assert_allclose(got, tape.values[id(y)], {"f": 1e-6, "d": 2e-15}[letter], 0)


def test_mixed_types_and_numbers_are_computed_in_numpys_types() -> None:
    tape = Tape()
    f, d, i, b = (tape.input(everything(letter)) for letter in TYPES)
    pairs = [
        *itertools.permutations((f, d, i, b), 2),
        (f, 2.0),
        (2, f),
        (i, 2),
        (i, 2.5),
        (b, 1),
        (d, True),
        (f, np.float64(2)),
    ]
    outputs = [
        tape(name, x, y)
        for name in ("add", "multiply", "maximum", "less", "where3")
        for x, y in pairs
        if name != "where3"
    ]
    outputs += [tape("where", b, x, y) for x, y in pairs]
    outputs += [tape("where", f, x, 0.0) for x in (f, d)]
    outputs += [tape("astype", x, dtype=np.dtype(t)) for x in (f, d, i, b) for t in (np.float32, np.float64, np.bool_)]
    check(tape, *outputs)


def test_a_value_is_read_elsewhere_than_where_it_was_computed() -> None:
    tape = Tape()
    x = tape.input(numbers((21, 21)))
    e = tape("exp", x)
    turned, back = tape.view("transpose", e, axes=(1, 0)), tape.view("getitem", e, index=(slice(None, None, -1),))
    row, column = (tape("add.reduce", e, axis=(a,), keepdims=False) for a in (1, 0))
    shifted = tape("multiply", tape.view("getitem", row, index=(slice(None, None, -1),)), row)
    check(tape, *(tape("divide", e, y) for y in (turned, back, row, column)), shifted, tape("divide", row, column))


LAYOUTS = {
    "rows": lambda x: x,
    "columns": np.asfortranarray,
    "backwards": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "every second": lambda x: np.repeat(x, 2, 1)[:, ::2],
    "one row": lambda x: np.broadcast_to(x[:1], x.shape),
}


@pytest.mark.parametrize(("left", "right"), [*itertools.combinations_with_replacement(LAYOUTS, 2)])
def test_memory_of_any_layout_is_read_and_broadcast(left: str, right: str) -> None:
    tape = Tape()
    a = tape.input(LAYOUTS[left](numbers((11, 19), np.float32)))
    b = tape.input(LAYOUTS[right](numbers((11, 19), np.float32, 1)))
    row, column, number = (tape.input(numbers(s, np.float32, 2)) for s in ((19,), (11, 1), ()))
    s = tape("add", a, b)
    turned = tape.view("transpose", s, axes=(1, 0))
    y = tape("multiply", tape("add", s, row), tape("subtract", column, number))
    check(tape, y, tape("add", turned, 1.0), tape("add.reduce", y, axis=(0,), keepdims=False), turned)


@pytest.mark.parametrize("name", ["add", "multiply", "maximum", "minimum"])
@pytest.mark.parametrize("dtype", list(TYPES.values())[:3])
def test_reductions_over_any_axes_are_numpys(name: str, dtype: type) -> None:
    x = np.random.default_rng(3).integers(1, 3, (3, 5, 2, 17)).astype(dtype)
    tape = Tape()
    t = tape.input(x)
    outputs = []
    for n in range(5):
        for axes in itertools.combinations(range(4), n):
            for keep in (False, True):
                y = tape(f"{name}.reduce", t, axis=axes, keepdims=keep)
                outputs += [y, tape("multiply", y, 2)]
    check(tape, *outputs)


def test_a_boolean_sum_counts_and_any_and_all_are_numpys() -> None:
    tape = Tape()
    b = tape.input(np.random.default_rng(0).random((7, 33)) < 0.9)
    names = ("add", "logical_or", "logical_and", "maximum")
    check(tape, *(tape(f"{n}.reduce", b, axis=a, keepdims=False) for n in names for a in ((0,), (1,), (0, 1))))


def test_nan_and_infinity_go_through_reductions_wherever_they_are() -> None:
    for place, value in itertools.product((0, 15, 16, 36), (np.nan, np.inf, -np.inf)):
        x = numbers((4, 37), np.float32)
        x[1, place] = value
        tape = Tape()
        t = tape.input(x)
        check(tape, *(tape(f"{n}.reduce", t, axis=a, keepdims=False)
                      for n in ("add", "maximum", "minimum") for a in ((0,), (1,), (0, 1))))  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "axes"), [((1000003,), (0,)), ((200, 5000), (0, 1)), ((300000, 3), (0,)), ((3, 300000), (1,))]
)
def test_float32_sums_of_a_million_are_as_accurate_as_numpys(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    x = np.random.default_rng(5).random(shape, np.float32)
    exact = x.sum(axes, dtype=np.float64)
    tape = Tape()
    y = tape("add.reduce", tape("multiply", tape.input(x), 1.0), axis=axes, keepdims=False)
    (got,) = Compiled(tape.program(y)).run(x)
    numpys = np.max(np.abs(x.sum(axes) - exact) / exact)
    assert np.max(np.abs(got - exact) / exact) <= max(2e-7, numpys)


def softmax(tape: Tape, x: Node) -> Node:
    e = tape("exp", tape("subtract", x, tape("maximum.reduce", x, axis=(1,), keepdims=True)))
    return tape("divide", e, tape("add.reduce", e, axis=(1,), keepdims=True))


def normalised(tape: Tape, x: Node, axis: int) -> Node:
    n = x.shape[axis]
    centred = tape("subtract", x, tape("divide", tape("add.reduce", x, axis=(axis,), keepdims=True), n))
    square = tape("divide", tape("add.reduce", tape("square", centred), axis=(axis,), keepdims=True), n)
    return tape("divide", centred, tape("sqrt", tape("add", square, 1e-5)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3, 2), (9, 10), (5, 197), (2, 30000), (200, 3), (1, 7), (7, 1)])
def test_softmax_and_norms_run_in_one_nest(shape: tuple[int, int], dtype: type) -> None:
    for write in (softmax, lambda tape, x: normalised(tape, x, 1), lambda tape, x: normalised(tape, x, 0)):
        tape = Tape()
        y = write(tape, tape.input(numbers(shape, dtype)))
        compiled = check(tape, y, rtol={"f": 5e-6, "d": 2e-12})
        assert compiled.ir.count("define void @nest") == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("size", "bits"), [(3, 512), (5, 128), (18, 128), (18, 256), (18, 512), (40, 512)])
def test_products_of_all_layouts_and_shapes_are_numpys(
    dtype: type, size: int, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Number by number, in tiles of vectors of all machines, and by BLAS."""
    monkeypatch.setattr("autodiff.compiling.native.compiled.vector_bits", lambda: bits)
    n, m, k = size, size + 1, size + 2
    tape = Tape()
    shapes = {"nk": (n, k), "kn": (k, n), "km": (k, m), "mk": (m, k), "k": (k,), "2nk": (2, n, k), "2km": (2, k, m)}
    x = {name: tape.input(numbers(shape, dtype, i)) for i, (name, shape) in enumerate(shapes.items())}
    turned = {name: tape.view("transpose", x[name], axes=(1, 0)) for name in ("kn", "mk")}
    wide = tape.input(numbers((k, 2 * m), dtype, 9))
    part = tape.view("getitem", wide, index=(slice(None), slice(1, m + 1)))
    second = tape.view("getitem", wide, index=(slice(None), slice(0, None, 2)))
    column = tape.view("getitem", wide, index=(slice(None), 3))
    back = tape.view("getitem", x["k"], index=(slice(None, None, -1),))
    outputs = []
    for a, b in itertools.product((x["nk"], turned["kn"]), (x["km"], turned["mk"], part, second, x["k"], column, back)):
        outputs += [tape("dot", a, b), tape("matmul", a, b)]
    for a in (x["k"], column, back):
        outputs += [
            tape("dot", a, x["km"]),
            tape("dot", a, turned["mk"]),
            tape("dot", a, column),
            tape("matmul", a, x["2km"]),
        ]
    outputs += [tape("matmul", x["2nk"], x["2km"]), tape("matmul", x["2nk"], x["km"]), tape("dot", x["2nk"], x["km"]),
                tape("matmul", x["nk"], x["2km"]), tape("matmul", x["2nk"], x["k"]),
                tape("einsum", x["nk"], x["nk"], subscripts="ij,ij->i"),
                tape("einsum", x["2nk"], x["2km"], subscripts="bij,bjk->bik")]  # fmt: skip
    compiled = check(tape, *outputs, rtol={"f": 5e-6, "d": 1e-12})
    assert ("gemm" in compiled.ir, "@product" in compiled.ir) == (size == 40, size > 3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_sum_of_products_that_nobody_else_reads_is_added_up_by_blas(dtype: type) -> None:
    tape = Tape()
    shapes = [(40, 42), (42, 40), (42, 42), (3, 40, 42), (3, 42, 42), (420,), (420, 42)]
    a, turned, b, many, others, v, w = (tape.input(numbers(x, dtype, i)) for i, x in enumerate(shapes))
    lefts = a, tape.view("transpose", turned, axes=(1, 0))
    rights = b, tape.view("transpose", b, axes=(1, 0))
    pairs = [*itertools.product(lefts, rights)]
    sums = [tape("add", tape("dot", *p), tape("matmul", *q)) for p, q in itertools.product(pairs, pairs)]
    sums.append(tape("add", tape("add", tape("dot", *pairs[0]), tape("dot", *pairs[1])), tape("dot", *pairs[2])))
    sums.append(tape("add", tape("matmul", many, b), tape("matmul", lefts[1], others)))
    sums.append(tape("add", tape("dot", v, w), tape("dot", tape("exp", v), w)))
    compiled = check(tape, *sums, rtol={"f": 5e-6, "d": 1e-12})
    assert compiled.ir.count("define void @nest") == 1  # exp

    def product() -> Node:
        return tape("dot", a, b)

    shared, twice, row = product(), product(), tape("dot", v, w)
    for outputs in (
        [tape("add", shared, product()), shared],
        [tape("add", twice, twice)],
        [tape("add", product(), row)],
        [tape("add", product(), tape("multiply", product(), 2.0))],
    ):
        compiled = check(tape, *outputs, rtol={"f": 5e-6, "d": 1e-12})
        assert "define void @nest" in compiled.ir


def test_parts_are_written_into_a_whole() -> None:
    tape = Tape()
    x = tape.input(numbers((4, 9)))
    y = tape("exp", x)
    outputs = [
        tape("scatter", y, shape=(6, 20), index=(slice(1, 5), slice(0, 18, 2))),
        tape("scatter", tape("add.reduce", y, axis=(1,), keepdims=False), shape=(4, 3), index=(slice(None), 1)),
        tape("setitem", x, y, index=Ellipsis), tape("setitem", x, 3, index=(slice(None), 2)),
        tape("setitem", tape("setitem", x, 1.0, index=(0,)), 2.0, index=(slice(None), 0)),
        tape("concatenate", x, y, x, axis=0), tape("concatenate", x, y, axis=1),
    ]  # fmt: skip
    check(tape, *outputs, tape("add", outputs[0], 1.0), tape("multiply", outputs[-1], outputs[-1]))


def test_what_is_not_machine_code_is_called() -> None:
    tape = Tape()
    x = tape.input(numbers((6, 5)))
    i = tape("argsort", tape("exp", x), axis=1, kind=None)
    taken = tape("take_along_axis", tape("tanh", x), i, axis=1)
    pair = tape("call", tape("multiply", taken, 2.0), function=lambda a: (a.min(), a[::2].copy()), name="pair")
    a, b = (tape("item", pair, index=k) for k in (0, 1))
    half = tape("astype", x, dtype=np.dtype(np.float16))
    compiled = check(
        tape, i, tape("add", b, a), tape("getitem", x, (i,)), tape("add", half, 1.0), tape("add.accumulate", x, axis=0)
    )
    assert compiled.source.count("segment") >= 2


def test_a_call_that_returns_its_argument_gives_memory_of_its_own() -> None:
    tape = Tape()
    x = tape.input(numbers((50,)))
    same = tape("call", tape("exp", x), function=lambda a: a[:], name="same")
    more = tape("sort", tape("tanh", tape("exp", tape("sin", x))), axis=0, kind=None)
    compiled = Compiled(tape.program(same, more))
    first = compiled.run(*tape.arguments)
    kept = first[0].copy()
    compiled.run(np.zeros(50))
    np.testing.assert_array_equal(first[0], kept)
    agree(first[0], tape.values[id(same)], 1e-12)


def test_results_are_new_memory_on_every_call_and_views_of_them_views() -> None:
    tape = Tape()
    x = tape.input(numbers((3, 4)))
    y = tape("exp", x)
    compiled = Compiled(tape.program(y, tape.view("transpose", y, axes=(1, 0)), x))
    a, b, c = compiled.run(*tape.arguments)
    assert np.shares_memory(a, b) and c is tape.arguments[0]
    assert not np.shares_memory(a, compiled.run(*tape.arguments)[0])


def test_a_constant_is_read_at_the_call() -> None:
    k = np.ones(20)
    tape = Tape()
    y = tape("add", tape.input(np.zeros(20)), k)
    compiled = Compiled(tape.program(y))
    k[:] = 5
    assert (compiled.run(np.zeros(20))[0] == 5).all()


def one(dtype: type = np.float64, shape: tuple[int, ...] = (3, 2)) -> Compiled:
    tape = Tape()
    return Compiled(tape.program(tape("exp", tape.input(np.zeros(shape, dtype)))))


@pytest.mark.parametrize(
    ("argument", "error", "words"),
    [
        (np.zeros((3, 2), np.float32), TypeError, r"float32\[3, 2\].*float64\[3, 2\]"),
        (np.zeros((3, 2), ">f8"), TypeError, r">f8\[3, 2\].*float64\[3, 2\]"),
        (np.zeros((2, 3)), ValueError, r"float64\[2, 3\].*float64\[3, 2\]"),
        (np.zeros(6), ValueError, r"\[6\]"),
        ([[0.0, 0.0]] * 3, TypeError, "is list"),
        (None, TypeError, "is NoneType"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_named(argument: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        one().run(argument)


def test_too_few_and_too_many_arguments_are_errors() -> None:
    for arguments in ((), (np.zeros((3, 2)),) * 2):
        with pytest.raises(TypeError, match="argument"):
            one().run(*arguments)


def test_a_numpy_number_stands_for_an_array_without_axes() -> None:
    (y,) = one(shape=()).run(np.float64(0.0))
    assert y == 1.0


def test_other_memory_layouts_of_an_argument_are_copied() -> None:
    x = numbers((3, 2))
    shifted = np.frombuffer(b"?" + x.tobytes(), np.uint8)[1:].view(np.float64).reshape(3, 2)
    assert not shifted.flags.aligned
    for same in (np.asfortranarray(x), np.repeat(x, 2, 0)[::2], x[::-1].copy()[::-1], x.view(np.matrix), shifted):
        np.testing.assert_allclose(one().run(same)[0], np.exp(x))


def test_a_call_that_gives_another_shape_is_named() -> None:
    tape = Tape()
    answers = [np.zeros(3), np.zeros(4)]
    y = tape("call", tape.input(np.zeros(3)), function=lambda a: answers.pop(0), name="changing")
    compiled = Compiled(tape.program(tape("exp", y)))
    with pytest.raises(ValueError, match=r"changing gave float64\[4\] and float64\[3\] when it was traced"):
        compiled.run(np.zeros(3))


def checked(x: Node, tape: Tape, value: float) -> Compiled:
    y, holds = tape("exp", x), tape("greater", tape("minimum.reduce", x, axis=(0,), keepdims=False), 0.0)
    total = tape("add.reduce", x, axis=(0,), keepdims=False)
    return Compiled(program_of([x], [y, tape("add", x, 1.0)], {1: 0}, [holds], [(total, value)]))


def test_an_assumption_or_a_guard_that_fails_raises_and_nothing_is_written() -> None:
    for a, value, words in (([1.0, 2.0], 3.0, ""), ([-1.0, 4.0], 3.0, "assumed"), ([1.0, 3.0], 3.0, "read"),
                            ([np.nan, 1.0], math.nan, "assumed"), ([1.0, 2.0], math.nan, "read")):  # fmt: skip
        x = np.array(a)
        tape = Tape()
        compiled = checked(tape.input(x), tape, value)
        if words:
            with pytest.raises(Unmet, match=words):
                compiled.run(x)
            np.testing.assert_array_equal(x, a)
        else:
            (y,) = compiled.run(x)
            np.testing.assert_allclose(y, np.exp(a))
            np.testing.assert_array_equal(x, np.add(a, 1))


@pytest.mark.parametrize("order", "CF")
def test_donated_outputs_are_written_into_their_inputs_whatever_their_layout(order: str) -> None:
    x, y = numbers((5, 7)), np.array(numbers((5, 7), seed=1), order=order)
    tape = Tape()
    a, b = tape.input(x), tape.input(numbers((5, 7)))
    new, other = tape("add", tape("multiply", a, 0.9), b), tape("subtract", tape("copy", a), b)
    compiled = Compiled(program_of(tape.inputs, [tape("exp", new), new, other], {1: 0, 2: 1}))
    want = x * 0.9 + y, x - y
    (e,) = compiled.run(x, y)
    agree(x, want[0], 1e-15)
    agree(y, want[1], 1e-15)
    agree(e, np.exp(want[0]), 1e-15)


def test_python_numbers_are_weak_at_every_call() -> None:
    rate = Node("input", (), {"weak": True}, (), np.dtype(float), ())
    x = Node("input", (), {}, (3,), np.dtype(np.float32), (4,))
    power = Node("power", (0.9, rate), {"weak": True}, (), np.dtype(float), (), number=1)
    y = Node("multiply", (x, power), {}, (3,), np.dtype(np.float32), (4,), number=2)
    z = Node("greater", (y, power), {}, (3,), np.dtype(bool), (1,), number=3)
    compiled = Compiled(program_of([x, rate], [y, z, power]))
    for value in (2.0, 3, 0.5):
        given = np.ones(3, np.float32)
        got = compiled.run(given, value)
        assert got[0].dtype == np.float32 and (got[0] == given * 0.9**value).all() and not got[1].any()
        assert type(got[2]) is float and got[2] == 0.9**value
    with pytest.raises(TypeError, match="is ndarray; this program was made for a number of type float"):
        compiled.run(np.ones(3, np.float32), np.ones(3))


def test_a_python_number_of_another_type_on_the_way_is_an_error_and_is_not_cast() -> None:
    n = Node("input", (), {"weak": True}, (), np.dtype(int), ())
    x = Node("input", (), {}, (3,), np.dtype(np.float32), (4,))
    power = Node("power", (2, n), {"weak": True}, (), np.dtype(int), (), number=1)
    y = Node("multiply", (x, power), {}, (3,), np.dtype(np.float32), (4,), number=2)
    compiled = Compiled(program_of([x, n], [y]))
    assert compiled.run(np.ones(3, np.float32), 3)[0].tolist() == [8, 8, 8]
    with pytest.raises(TypeError, match="power is float; this program was made for a number of type int"):
        compiled.run(np.ones(3, np.float32), -1)
    with pytest.raises(OverflowError):
        compiled.run(np.ones(3, np.float32), 70)


def test_threads_run_one_program_at_once() -> None:
    tape = Tape()
    x = tape.input(np.zeros((100, 100)))
    s = tape("add.reduce", tape("exp", x), axis=(1,), keepdims=True)
    y = tape("sort", tape("add", x, tape("multiply", s, 2.0)), axis=0, kind=None)
    compiled = Compiled(tape.program(y))
    wrong: list[float] = []

    def work(value: float) -> None:
        for _ in range(100):
            (got,) = compiled.run(np.full((100, 100), value))
            if not np.allclose(got, value + 200 * math.exp(value), rtol=1e-12):
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(v,)) for v in (0.0, 1.0, 2.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def random_ones(first: int, count: int) -> None:
    command = [sys.executable, "-W", "ignore", "-X", "faulthandler", "-m", "tests.autodiff.compiling.native.programs"]
    done = subprocess.run([*command, str(first), str(count)], cwd=ROOT, capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT)})  # fmt: skip
    assert done.returncode == 0 and "all right" in done.stdout, done.stderr[-3000:]


def test_random_programs_are_right() -> None:
    random_ones(0, 30)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 11000, 1000))
def test_ten_thousand_random_programs_are_right(first: int) -> None:
    random_ones(first, 1000)


def test_where_objects_lie_otherwise_in_memory_programs_run_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "as_expected", lambda: False)
    tape = Tape()
    x = tape.input(numbers((6, 40)))
    compiled = check(tape, softmax(tape, x), tape("sort", tape("exp", x), axis=1, kind=None))
    assert "check(" not in compiled.source
    with pytest.raises(ValueError, match=r"float64\[40\]"):
        compiled.run(np.zeros(40))


def test_a_large_nest_that_reads_another_runs_with_it_but_for_one_that_waits_for_something_else() -> None:
    for waits in (False, True):
        tape = Tape()
        x, y, w = (tape.input(numbers(shape, seed=i)) for i, shape in enumerate([(5000,), (5000,), (8, 5000)]))
        first = tape("exp", x)
        factor = tape("add.reduce", tape("dot", w, first), axis=(0,), keepdims=False) if waits else 2.0
        second = tape("multiply", tape("multiply", y, y), factor)  # which has read nothing that the first one has
        last = tape("subtract", tape("add", first, second), 1.0)
        total = tape("add.reduce", tape("multiply", last, last), axis=(0,), keepdims=False)
        compiled = check(tape, last, total, first)
        assert compiled.ir.count("define void @nest") == (3 if waits else 1)


def test_a_matrix_that_is_seen_with_more_axes_stays_in_the_loop_that_made_it() -> None:
    tape = Tape()
    x, bias, other, column = (
        tape.input(numbers(shape, seed=i)) for i, shape in enumerate([(60, 200), (200,), (3, 20, 200), (3, 20, 1)])
    )
    seen = tape.view("reshape", tape("add", x, bias), shape=(3, 20, 200), order="C")
    y = tape("multiply", tape("exp", seen), other)
    z = tape("add", tape("subtract", y, column), bias)
    back = tape("add.reduce", tape.view("reshape", z, shape=(60, 200), order="C"), axis=(0,), keepdims=False)
    compiled = check(tape, y, z, back)
    assert compiled.ir.count("define void @nest") == 1
    tape = Tape()
    x, turned = tape.input(numbers((60, 200))), tape.input(numbers((200, 20, 3)))
    seen = tape.view("reshape", tape("exp", x), shape=(3, 20, 200), order="C")
    check(tape, tape("multiply", seen, tape.view("transpose", turned, axes=(2, 1, 0))), tape("negative", seen))


def adam(n: int, dtype: type) -> tuple[Compiled, list[np.ndarray], list[np.ndarray]]:
    """A step in place, its arguments, and what they must be then."""
    tape = Tape()
    p, m, v, g = (tape.input(np.abs(numbers((n,), dtype, i))) for i in range(4))
    new_m = tape("add", tape("multiply", m, 0.9), tape("multiply", g, 0.1))
    new_v = tape("add", tape("multiply", v, 0.99), tape("multiply", tape("square", g), 0.01))
    new_p = tape("subtract", p, tape("divide", tape("multiply", new_m, 0.01), tape("sqrt", new_v)))
    total = tape("add.reduce", p, axis=(0,), keepdims=False)
    holds = tape("greater", total, 0.0)
    program = program_of(tape.inputs, [total, new_p, new_m, new_v], {1: 0, 2: 1, 3: 2}, [holds])
    return Compiled(program), tape.arguments, [tape.values[id(x)] for x in (new_p, new_m, new_v)]


@pytest.mark.parametrize("n", [1, 7, 37, 64, 200001])
def test_a_step_is_computed_in_the_memory_of_its_parameters_and_states(n: int) -> None:
    for dtype in (np.float32, np.float64):
        compiled, arguments, want = adam(n, dtype)
        assert "copyto(y0, x0)" in compiled.source and "is not x0" in compiled.source
        compiled.run(*arguments)
        for got, right in zip(arguments, want, strict=False):
            np.testing.assert_allclose(got, right, 5 * np.finfo(dtype).eps)


def test_a_step_whose_assumption_fails_writes_nothing() -> None:
    compiled, arguments, _ = adam(20, np.float64)
    arguments[0][0] = -1e3
    before = [x.copy() for x in arguments]
    with pytest.raises(Unmet, match="assumed"):
        compiled.run(*arguments)
    for x, y in zip(arguments, before, strict=True):
        np.testing.assert_array_equal(x, y)


def test_arguments_that_share_memory_with_what_is_written_are_read_before() -> None:
    tape = Tape()
    x, y = tape.input(np.zeros(40)), tape.input(np.zeros(40))
    compiled = Compiled(program_of(tape.inputs, [tape("add", x, y)], {0: 0}))
    assert "is not x0" in compiled.source
    memory = np.arange(41.0)
    want = memory[1:] + memory[:-1]
    assert compiled.run(memory[1:], memory[:-1]) == ()
    np.testing.assert_array_equal(memory[1:], want)


def test_what_is_written_must_be_writeable() -> None:
    compiled, arguments, _ = adam(20, np.float64)
    arguments[1].flags.writeable = False
    with pytest.raises(ValueError, match="argument 1 is written by this program and is read-only"):
        compiled.run(*arguments)


def test_a_swap_of_two_arguments_reads_both_before_it_writes() -> None:
    tape = Tape()
    x, y = tape.input(np.zeros(50)), tape.input(np.zeros(50))
    compiled = Compiled(program_of(tape.inputs, [tape("multiply", y, 2.0), tape("multiply", x, 3.0)], {0: 0, 1: 1}))
    a, b = numbers((50,)), numbers((50,), seed=1)
    want = b * 2, a * 3
    compiled.run(a, b)
    np.testing.assert_array_equal((a, b), want)
