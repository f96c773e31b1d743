"""A name of another library says what is written here, and what it says is true."""

import functools
import inspect
import pydoc
import re
import subprocess
import sys

import numpy as np
import pytest
import scipy.special

import autodiff as ad
import nn
import optim
from autodiff.elsewhere import ATTRIBUTES, AXES, NAMES

ROOMS = {"ad": ad, "np": np, "nn": nn, "optim": optim}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_another_library_is_an_error_that_names_what_exists_here(name):
    with pytest.raises(AttributeError, match=f"module 'autodiff' has no attribute '{name}'; write ") as error:
        getattr(ad, name)
    assert not hasattr(ad, name)
    for room, path in re.findall(r"\b(ad|np|nn|optim)\.([A-Za-z_][\w.]*\w)", str(error.value)):
        functools.reduce(getattr, path.split("."), ROOMS[room])


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("expit", "ad.special.expit"),
        ("inv", "ad.linalg.inv"),
        ("cat", "np.concatenate(tensors)"),
        ("clamp", "t.clip(low, high)"),
        ("float32", "np.float32"),
        ("pi", "np.pi"),
    ],
)
def test_a_name_that_is_in_a_submodule_a_method_or_numpys_is_an_error_that_says_so(name, instead):
    with pytest.raises(AttributeError, match=re.escape(f"{name!r}; write {instead}") + "$"):
        getattr(ad, name)


@pytest.mark.parametrize("name", ["nothing", "__path_hook__", "_NoValue"])
def test_another_name_is_an_error_without_advice(name):
    with pytest.raises(AttributeError, match=f"{name!r}$"):
        getattr(ad, name)


def test_python_still_proposes_the_name_that_was_meant():
    run = subprocess.run([sys.executable, "-c", "import autodiff as ad; ad.jacobien"], capture_output=True, text=True)
    assert "Did you mean: 'jacobian'?" in run.stderr


def test_the_advice_computes_what_the_names_compute():
    def f(x):
        return np.stack([x[0] * np.sin(x[1]), x[1] ** 3])

    x, v = np.array([0.5, 0.7]), np.array([1.0, -2.0])
    exact = np.array([[np.sin(0.7), 0.5 * np.cos(0.7)], [0.0, 3 * 0.7**2]])
    names = {"ad": ad, "np": np, "f": f, "x": x, "tangent": v}
    np.testing.assert_allclose(eval(NAMES["jacfwd"], names)(x), exact, rtol=1e-14)
    np.testing.assert_allclose(eval(NAMES["jit"], names)(x), f(x), rtol=1e-14)
    np.testing.assert_allclose(eval(NAMES["linearize"], names)[1], exact @ v, rtol=1e-14)
    np.testing.assert_allclose(eval(NAMES["make_vjp"], names)[1](v)[0], v @ exact, rtol=1e-14)
    np.testing.assert_allclose(eval(NAMES["remat"], names | {"x": ad.Tensor(x)}).numpy(), f(x), rtol=1e-14)
    summed = names | {"f": lambda x: f(x).sum()}
    np.testing.assert_allclose(eval(NAMES["make_hvp"], summed), ad.hessian(summed["f"])(x) @ v, rtol=1e-14)
    loop = names | {"f": lambda i, c: c * 0.9 + i, "c": 2.0, "n": 5}
    c = 2.0
    for i in range(5):
        c = c * 0.9 + i
    np.testing.assert_allclose(eval(NAMES["fori_loop"], loop).item(), c, rtol=1e-14)
    by_both = eval(NAMES["multigrad"], names | {"f": lambda a, b: a * b**2})(2.0, 3.0)
    np.testing.assert_allclose(by_both, (9.0, 12.0))
    square = eval(NAMES["holomorphic_grad"], names | {"f": lambda z: z**2})
    np.testing.assert_allclose(square(1.0 + 2.0j), 2 + 4j, rtol=1e-14)
    np.testing.assert_allclose(ad.special.expit(0.3).item(), scipy.special.expit(0.3), rtol=1e-14)


def test_the_advice_for_an_attribute_of_pytorchs_tensors_computes_what_that_one_computes():
    torch = pytest.importorskip("torch")
    a, b, c = np.random.default_rng(0).uniform(0.1, 2.0, (3, 3, 3))
    names = {"ad": ad, "np": np, "t": ad.Tensor(a), "u": ad.Tensor(b), "v": c, "w": 0.3, "a": a}
    names |= {"axis": 0, "q": 0.3, "shift": 1, "source": 0, "destination": 1, "start": 1, "length": 2, "size": 2}
    t, u, v = torch.tensor(a), torch.tensor(b), torch.tensor(c)
    given = {
        **dict.fromkeys(["eq", "ne", "lt", "le", "gt", "ge"], (u,)), "lerp": (u, 0.3), "addmm": (u, v),
        "unfold": (0, 2, 1), "narrow": (0, 1, 2), "movedim": (0, 1), "type_as": (u,), "log_softmax": (0,), "softmax": (0,), "logsumexp": (0,),
        "quantile": (0.3, 0), "roll": (1, 0),
    }  # fmt: skip
    plain = ["rsqrt", "inverse", "erf", "lgamma", "exp", "log", "sqrt", "abs", "neg", "t", "new_zeros", "new_ones"]
    same = [n for n, text in ATTRIBUTES.items() if text == f"np.{n}(t)" and n not in ("sort", "ptp")]
    for name in [*given, *plain, *same]:
        with pytest.raises(AttributeError, match=f"no attribute '{name}'; as in NumPy, write ") as error:
            getattr(names["t"], name)
        ours = eval(str(error.value).split("write ")[1], names)
        theirs = getattr(t, name)(*given.get(name, [3, 3] if name.startswith("new_") else ()))
        np.testing.assert_allclose(ours, theirs, rtol=1e-13, err_msg=name)


def test_the_digamma_function_has_both_of_scipys_names():
    np.testing.assert_allclose(ad.special.psi([0.5, 3.0]).numpy(), scipy.special.psi([0.5, 3.0]), rtol=1e-14)
    np.testing.assert_allclose(ad.grad(ad.special.psi)(0.5), np.pi**2 / 2, rtol=1e-12)  # ψ′(1/2)


# What `help` shows


def test_help_begins_with_every_name_that_is_neither_numpys_nor_a_class_of_errors():
    kinds = {n for n in ad.__all__ if isinstance(getattr(ad, n), type) and issubclass(getattr(ad, n), Exception)}
    beyond = {n for n in ad.__all__ if not hasattr(np, n)} - kinds - {"tensor", "unstack", "sliding_window_view"}
    beyond -= {"cumulative_sum", "cumulative_prod", "matvec", "vecmat"}  # NumPy's, from 2.1 and 2.2
    overview = set(re.findall(r"\w+", ad.__doc__))
    assert beyond <= overview
    assert {"linalg", "fft", "random", "array", "save", "load"} <= overview


def test_the_first_names_of_each_line_of_the_overview_exist():
    lines = re.findall(r"^[A-Z][\w' ]+: {2,}(.*)$", ad.__doc__, re.M)
    assert len(lines) == 9
    for line in lines:
        if not line.startswith("NumPy's"):
            for name in re.split(r"[,;(]", line)[0].split():
                assert hasattr(ad, name.removeprefix("ad.")), name


@pytest.mark.parametrize("package", [nn, optim])
def test_help_of_nn_and_optim_begins_with_every_public_name_and_no_other(package):
    overview, _, order = package.__doc__.partition("Reading order")
    overview = re.sub(r"(\w+)\{1,2,3\}d", r"\g<1>1d \g<1>2d \g<1>3d", overview)
    assert order and set(package.__all__) <= set(re.findall(r"\w+", overview))
    for line in re.findall(r"^(?:[A-Z][\w ]+:)? {2,}(.*)$", overview, re.M):
        for name in re.findall(r"\w*[A-Z]\w+|\w+_\w+", line):
            assert name in package.__all__ or name == "SciPy", name


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (ad, ["grad", "hessian", "compile", "explain", "Tensor", "exp", "array"]),
        (ad.solvers, ["root", "minimize", "solve_ivp", "quad"]),
        (ad.curvature, ["Hessian", "trace", "spectral_density"]),
    ],
)
def test_help_lists_the_functions_of_a_package(module, names):
    text = pydoc.plain(pydoc.render_doc(module))
    for name in names:
        assert re.search(rf"^    (class )?{name}\(", text, re.M), name


def test_a_star_import_brings_what_is_public_alone():
    names = {}
    exec("from autodiff import *", names)
    names.pop("__builtins__")
    assert set(names) == set(ad.__all__)
    assert {n for n in dir(ad) if n[0] != "_"} >= set(names) >= {"fft", "linalg", "special", "stats", "grad", "compile"}
    assert not {"ops", "backward", "transforms"} & set(names)


def along_an_axis():
    """Every public function and method of Tensors that has NumPy's words, with those it has."""
    places = {"ad": ad, "ad.fft": ad.fft, "ad.linalg": ad.linalg, "ad.special": ad.special, "ad.signal": ad.signal}
    for place, package in [*places.items(), ("t", ad.Tensor)]:
        for name in vars(package) if place == "ad.signal" else dir(package):
            function = getattr(package, name, None)
            if not name.startswith("_") and inspect.isfunction(function) and name != "apply_along_axis":
                as_numpy_s = getattr(np, name, None) if "params" in inspect.signature(function).parameters else None
                words = inspect.signature(as_numpy_s or function).parameters
                if any(
                    words[w].kind != inspect.Parameter.VAR_POSITIONAL for w in ("axis", "axes", "axis1") if w in words
                ):
                    yield pytest.param(function, words, id=f"{place}.{name}")


@pytest.mark.parametrize(("function", "words"), [*along_an_axis()])
def test_pytorchs_words_for_an_axis_are_an_error_that_names_numpys(function, words):
    given = [np.eye(2)] * sum(p.default is p.empty and p.kind < p.VAR_POSITIONAL for p in words.values())
    own = next(word for word in ("axis", "axes", "axis1") if word in words)
    other = "dim1" if own == "axis1" else "dim"
    given = given[: list(words).index(own)] if words[own].kind < inspect.Parameter.VAR_POSITIONAL else given
    with pytest.raises(TypeError, match=rf"\w+: got {other}=1; autodiff says {own}=1, as NumPy does"):
        function(*given, **{other: 1})
    if "keepdims" in words:
        with pytest.raises(TypeError, match=r"got dim=1, keepdim=True; autodiff says \w+=1, keepdims=True, as NumPy"):
            function(*given, dim=1, keepdim=True)


def test_words_that_numpy_has_not_either_stay_pythons_error():
    with pytest.raises(TypeError, match="unexpected keyword argument 'dim'"):
        ad.diag(np.eye(2), dim=0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'dimension'"):
        ad.sum(np.eye(2), dimension=0)


def test_an_error_inside_a_function_with_the_right_words_stays_as_it_is():
    with pytest.raises(TypeError, match="nothing to do with it"):

        @AXES.checked
        def f(x, dim):
            raise TypeError("nothing to do with it")

        f(1, dim=0)
