"""A program in JavaScript gives in a browser what the engine gives here, or a check of it fails."""

import json

import mpmath
import numpy as np
import pytest
import scipy.special

import autodiff as ad
from autodiff.compiling.javascript import BINARY, UNARY, Formless, JavaScript, library
from autodiff.compiling.program import Node, Program
from autodiff.primitive import REGISTRY
from tests import chromium
from tests.autodiff.compiling.test_operations import computed

pytestmark = pytest.mark.skipif(chromium.PROGRAM is None, reason="no chromium or chrome is installed")

CORE = {f"autodiff.ops.{name}" for name in ("elementwise", "reductions", "shape", "products", "norms", "indexing")}
FORMLESS = {"angle", "imag", "linear_recurrence", "pad", "partition", "projectors", "std"}
"""Operations of these families that call something without a form in JavaScript in some sample; few others may."""


@pytest.fixture(scope="module")
def browser():
    window = chromium.Browser()
    window.run(library().replace("const np", "globalThis.np"))
    yield window
    window.close()


def written(values):
    """Arrays as JavaScript."""
    lists = [[list(np.shape(x)), [str(float(v)) for v in np.ravel(x)]] for x in values]
    return f"""...{json.dumps(lists)}.map(([shape, data]) => np.array(shape, Float64Array.from(data,
      (v) => Number(v.replace("inf", "Infinity")))))"""


def run(browser, text, values):
    """What a program returns in the browser; None where one of its checks fails."""
    found = browser.run(f"""(() => {{
      {text}
      const list = (x) => (typeof x === "number" ? list(np.array([], [x])) : [x.shape, Array.from(x.data, (v) => (Object.is(v, -0) ? "-0" : String(v)))]);
      try {{ return program({written(values)}).map(list); }} catch (error) {{ if (error instanceof np.Unmet) return null; throw error; }}
    }})()""")
    return found and [
        np.array([float(v.replace("Infinity", "inf")) for v in data]).reshape(shape) for shape, data in found
    ]


def checked(browser, name, dtype, few):
    """Compare an operation and its derivatives with the engine's, and checks with the compiled program's; returns what
    has no form."""
    record, formless = REGISTRY[name], set()
    samples = zip(*(list(record.samples(np.random.default_rng(seed)))[:few] for seed in (0, 1)))
    for sample, other in samples:
        function, arrays = computed(record, sample)
        _, again = computed(record, other)
        if not arrays or any(a.dtype.kind == "c" for a in arrays):
            continue
        if [a.shape for a in again] != [a.shape for a in arrays]:
            again = arrays
        compiled, given = ad.compile(function), [a.astype(dtype) for a in again]
        with np.errstate(all="ignore"):
            compiled(*[a.astype(dtype) for a in arrays])
            expected = [None if x is None else x.data for x in function(*given)]
            if not compiled.programs:
                continue  # values of which each is a special case
            program = compiled.programs[0]
            compiled(*given)
        if any(node.dtype.kind == "c" for node in program.nodes):
            with pytest.raises(Formless, match="no numbers of dtype complex"):
                JavaScript(program, given)
            continue
        js = JavaScript(program, given)
        formless.update(js.formless.values())
        found = run(browser, js.text, given)
        holds = len(compiled.programs) == 1 and "did not hold" not in compiled.explain()
        assert (found is not None) == holds, (name, compiled.explain())
        if found is None:
            continue
        for a, b in zip(found, [x for x in expected if x is not None], strict=True):
            assert a.shape == b.shape
            scale = np.abs(b[np.isfinite(b)]).max(initial=0)
            tolerance = 1e-12 if b.dtype == np.float64 else 1e-5
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(scale, 1) / 2, err_msg=name)
    return formless


NAMES = sorted(name for name, record in REGISTRY.items() if record.samples is not None)
COMMON = [name for name in NAMES if CORE & {getattr(rule, "__module__", "") for rule in REGISTRY[name].vjps}]


def test_a_common_operation_and_its_derivatives_are_in_the_browser_what_they_are_here(browser):
    formless = {name for name in COMMON if checked(browser, name, "f8", 1)} - FORMLESS
    assert len(COMMON) > 90 and len(formless) < 8, formless


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_all_samples_of_all_operations_are_in_the_browser_what_they_are_here(browser, dtype):
    for name in NAMES:
        checked(browser, name, dtype, 6)


def test_results_in_single_precision_are_rounded_after_each_call(browser):
    def f(x):
        return (x * np.float32(1.1) + np.float32(0.3)) / x - x

    x = np.random.default_rng(0).normal(size=50).astype("f4")
    compiled = ad.compile(f)
    compiled(x)
    (found,) = run(browser, JavaScript(compiled.programs[0]).text, [x])
    np.testing.assert_array_equal(found.astype("f4"), f(x))


ODD = np.array([0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -2.5, 1.0, -1.0, 3.0, -7.25, np.inf, -np.inf, np.nan])


def test_every_ufunc_has_numpys_result_for_unusual_numbers(browser):
    with np.errstate(all="ignore"):
        for name in f"{UNARY} {BINARY}".split():
            ufunc = getattr(np, name)
            given = [ODD] if name in UNARY.split() else [a.ravel() for a in np.meshgrid(ODD, ODD)]
            expected = ufunc(*given)
            nodes = [Node("input", (), {}, a.shape, a.dtype, a.strides) for a in given]
            y = Node(name, tuple(nodes), {}, expected.shape, expected.dtype, expected.strides, number=9)
            (found,) = run(browser, JavaScript(Program(nodes, [y], [y])).text, given)
            np.testing.assert_allclose(found, expected, rtol=1e-14, err_msg=name)


def test_special_functions_are_scipys_over_their_whole_range(browser):
    x = np.concatenate([np.linspace(-35, 35, 281), np.linspace(-3, 3, 61), [1e-9, -1e-20, 1 / 3]])
    unit = np.concatenate([np.geomspace(1e-300, 0.5, 80), np.linspace(0.01, 0.99, 99)])
    positive = np.concatenate([np.geomspace(1e-8, 150, 200), [1.0000001, 1.9999, 2.0001, 1.5, 2.5]])
    cases = {
        "erf": x, "erfc": x[x < 26], "ndtr": x, "log_ndtr": x, "ndtri": unit, "erfinv": np.r_[unit, -unit][::2],
        "gammaln": positive, "gamma": positive, "expit": x, "entr": positive, "logit": unit[80:],
        "cosm1": x, "erfcx": x[x > -20], "erfcinv": np.r_[unit, 1.0 + unit[80:]], "rgamma": np.r_[positive, -x[x > 0][:20]],
        "loggamma": positive, "exprel": x,
    }  # fmt: skip
    for name, values in cases.items():
        text = f"const program = (x) => [np.special.{name}(x)];"
        (found,) = run(browser, text, [values])
        expected = getattr(scipy.special, name)(values)
        if name in ("gammaln", "loggamma"):  # SciPy loses digits at its zeros
            expected = [float(mpmath.loggamma(v)) for v in values]
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15 * (name == "logit"), err_msg=name)
    a, b = (v.ravel() for v in np.meshgrid([0.0, 1e-3, 0.4, 1.0, 1.5, 30.0, -1.0], [0.0, 1e-5, 0.5, 1.0, 2.0, 70.0]))
    positive_pairs, far = (a[a > 0], b[a > 0] + 0.1), np.geomspace(1e-3, 1e6, 40)
    pairs = {"beta": positive_pairs, "boxcox": positive_pairs, "boxcox1p": positive_pairs}
    pairs |= {
        "inv_boxcox": (b / 100, a[::-1]),
        "betaln": (np.r_[positive_pairs[0], far], np.r_[positive_pairs[1], far[::-1] ** 1.3]),
    }
    for name in ("rel_entr", "kl_div", "huber", "pseudo_huber", "xlogy", "xlog1py", *pairs):
        given = pairs.get(name, (a, b))
        (found,) = run(browser, f"const program = (x, y) => [np.special.{name}(x, y)];", given)
        with np.errstate(all="ignore"):
            expected = getattr(scipy.special, name)(*given)
        if name == "betaln":  # SciPy loses digits where one number is much larger than the other
            expected = [float(mpmath.log(mpmath.beta(*pair))) for pair in zip(*given)]
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14 * (name == "betaln") + 1e-15, err_msg=name)
    for n in range(4):
        (found,) = run(browser, f"const program = (x) => [np.special.polygamma({n}, x)];", [positive])
        expected = scipy.special.polygamma(n, positive)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=2e-15, err_msg=str(n))


def test_small_integers_go_on_at_the_other_end(browser):
    compiled = ad.compile(lambda x: (x + x, x - np.array([300, 7], "i2").astype(x.dtype)))
    for dtype in ("u1", "i1", "i4"):
        x = np.array([200, 100]).astype(dtype)
        expected = compiled(x)
        found = run(browser, JavaScript(compiled.programs[-1]).text, [x])
        np.testing.assert_array_equal(found, expected)


def test_a_program_whose_assumptions_fail_gives_nothing(browser):
    def slope(x):
        return ad.grad(lambda t: np.sqrt(t).sum())(x)

    compiled = ad.compile(slope)
    compiled(np.array([1.0, 4.0]))
    text = JavaScript(compiled.programs[0]).text
    np.testing.assert_allclose(run(browser, text, [np.array([4.0, 9.0])]), [[1 / 4, 1 / 6]])
    assert run(browser, text, [np.array([0.0, 9.0])]) is None


def test_a_branch_that_was_taken_is_checked(browser):
    compiled = ad.compile(lambda x: x * 2 if x.sum() > 0 else x * 3)
    compiled(np.array([1.0, 4.0]))
    text = JavaScript(compiled.programs[0]).text
    np.testing.assert_array_equal(run(browser, text, [np.array([1.0, 1.0])]), [[2, 2]])
    assert run(browser, text, [np.array([-1.0, 0.0])]) is None


def test_what_has_no_form_is_a_constant_and_what_lies_behind_it_is_known():
    compiled = ad.compile(lambda a, b: (np.linalg.svd(a)[1].sum() * b, a + b))
    given = np.array([[2.0, 1.0], [0.0, 3.0]]), np.array(2.0)
    compiled(*given)
    (program,) = compiled.programs
    with pytest.raises(Formless, match="a page cannot compute svd"):
        JavaScript(program)
    js = JavaScript(program, given)
    assert [js.behind()[x] for x in program.outputs] == [{0}, set()]
    assert "svd" not in js.text and set(js.formless.values()) == {"svd"}


def test_names_that_javascript_has_taken_are_left_to_it():
    nodes = [Node("input", (), {}, (), np.dtype(float), (), name=name) for name in ("class", "np", "β", "t0", "x.y")]
    assert JavaScript(Program(nodes, [], nodes)).text.startswith("const program = (class_2, np_2, x, xt0, x_y)")


def test_integers_beyond_what_a_page_can_count_are_refused(browser):
    compiled = ad.compile(lambda n: n * n)
    compiled(np.array([3, 4]))
    text = JavaScript(compiled.programs[0]).text
    np.testing.assert_array_equal(run(browser, text, [np.array([5, 6])]), [[25, 36]])
    assert run(browser, text, [np.array([2**40, 1])]) is None


def test_a_dtype_that_a_page_does_not_have_is_refused():
    compiled = ad.compile(lambda x: x * x)
    compiled(np.array([3, 4], "f2"))
    with pytest.raises(Formless, match="no numbers of dtype float16, as multiply gives them"):
        JavaScript(compiled.programs[0])
    compiled(np.array([200, 4], "u1"))  # would wrap around
    assert list(JavaScript(compiled.programs[-1], [np.array([200, 4], "u1")]).formless.values()) == ["multiply"]
