"""detect_anomaly and record_lines point at the user's own line."""

import contextvars
import re
import threading

import numpy as np
import pytest

import autodiff as ad
from autodiff import AnomalyError, Tensor, detect_anomaly, record_lines
from autodiff.mode import mode

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def here(needle):
    """The line of this file that contains the needle, as the tools write it."""
    with open(__file__) as file:
        for number, line in enumerate(file, 1):
            if needle in line and "here(" not in line:
                return f"{__file__}:{number}: {line.strip()}"
    raise LookupError(needle)


def leaf(*values):
    return Tensor(list(values), requires_grad=True)


# Forward


def test_the_operation_whose_forward_first_gives_nan_is_named_with_its_line():
    x = leaf(1.0, -1.0, 2.0)
    with detect_anomaly():
        y = x * 2.0
        with pytest.raises(AnomalyError) as caught:
            np.log(y).sum()  # the culprit
    text = str(caught.value)
    assert text.startswith("log(shape (3,)): the result has 1 NaN of 3 values, and no input has")
    assert text.endswith(here("# the culprit"))
    assert isinstance(caught.value, FloatingPointError)


def test_infinity_is_an_anomaly_unless_it_is_allowed():
    with detect_anomaly(), pytest.raises(AnomalyError, match=r"divide\(.*2 infinite of 3 values"):
        1.0 / leaf(0.0, 1.0, 0.0)
    with detect_anomaly(infinity=False):
        y = 1.0 / leaf(0.0, 1.0)
        with pytest.raises(AnomalyError, match="1 NaN"):
            y - y  # inf - inf
    with pytest.raises(TypeError, match="detect_anomaly"):
        detect_anomaly("yes")


def test_a_constant_that_was_not_finite_is_named_as_the_origin():
    x = leaf(1.0, 2.0)
    with detect_anomaly():
        with pytest.raises(AnomalyError, match="it came in from a constant: input 1 has 1 NaN of 2 values"):
            x + np.array([np.nan, 0.0])
        with pytest.raises(AnomalyError, match=r"came in from a constant: input 1 \(mask\) has 1 infinite"):
            x * Tensor([np.inf, 0.0], name="mask")
        with pytest.raises(AnomalyError, match="input 0 has 1 infinite of 1 value"):
            np.inf * x
        with pytest.raises(AnomalyError, match="from a leaf that requires a gradient"):
            leaf(np.nan) * 2.0
    bad = np.log(leaf(-1.0))
    with detect_anomaly(), pytest.raises(AnomalyError, match=r"was made by log outside detect_anomaly\(\)"):
        bad * 2.0


def test_operations_without_gradient_are_watched_too():
    with detect_anomaly(), pytest.raises(AnomalyError, match="sqrt"):
        np.sqrt(Tensor([-1.0]))
    with ad.no_grad(), detect_anomaly(), pytest.raises(AnomalyError, match="sqrt"):
        np.sqrt(leaf(-1.0))


def test_finite_work_goes_through_and_gives_the_same_numbers():
    x = leaf(0.5, 2.0)
    f = lambda x: (np.log(x) * np.tanh(x)).sum() / 3 + np.where(x > 1, x, 0).max()
    plain = [ad.grad(f)(x.numpy()), ad.hessian(f)(x.numpy())]
    with detect_anomaly(), record_lines():
        watched = [ad.grad(f)(x.numpy()), ad.hessian(f)(x.numpy())]
        f(x).backward()
    for a, b in zip(plain, watched):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(x.grad.numpy(), plain[0])


# Backward


def test_the_operation_whose_backward_first_gives_infinity_is_named_with_the_line_that_made_it():
    x = leaf(0.0, 4.0)
    with detect_anomaly():
        y = np.sqrt(x)  # finite forward
        z = (y * 3.0).sum()
        with pytest.raises(AnomalyError) as caught:
            z.backward()
    text = str(caught.value)
    assert text.startswith("backward of sqrt(shape (2,)): the gradient for input 0 (shape (2,)) has 1 infinite of 2")
    assert text.endswith(here("# finite forward"))
    assert x.grad is None


@pytest.mark.parametrize("create_graph", [False, True])
def test_both_kinds_of_backward_name_the_node_of_the_forward_pass(create_graph):
    x = leaf(0.0, 4.0)
    with detect_anomaly():
        y = np.sqrt(x)  # both kinds
        with pytest.raises(AnomalyError, match="backward of sqrt") as caught:
            ad.gradients(y.sum(), x, create_graph=create_graph)
    assert str(caught.value).endswith(here("# both kinds"))


def test_a_guarded_infinity_inside_a_rule_is_no_anomaly():
    x = leaf(0.0, 4.0)
    root = np.sqrt(x)
    with detect_anomaly():
        y = np.where(x > 0, root, 0.0).sum()
        (g,) = ad.gradients(y, x, create_graph=True)
        assert g.tolist() == [0.0, 0.25]
        assert ad.gradients(g.sum(), x)[0].tolist()[0] == 0.0


def test_a_graph_made_outside_is_checked_in_a_backward_inside_and_the_missing_line_is_said():
    x = leaf(0.0)
    y = np.sqrt(x)
    with detect_anomaly(), pytest.raises(AnomalyError, match=r"backward of sqrt.*\n.*line not recorded"):
        y.backward()
    with record_lines():
        y = np.sqrt(x)  # lines alone
    with detect_anomaly(), pytest.raises(AnomalyError, match=re.escape(here("# lines alone"))):
        y.backward()


def test_a_backward_outside_is_not_checked():
    x = leaf(0.0)
    with detect_anomaly():
        y = np.sqrt(x)
    y.backward()
    assert x.grad.tolist() == [np.inf]


def test_the_backward_of_an_operation_of_your_own_is_watched():
    broken = ad.primitive(lambda x: x * 1.0, name="broken", vjps=[lambda g, y, x: g * np.nan])
    for create_graph in (False, True):
        with detect_anomaly():
            y = broken(leaf(1.0))
            with pytest.raises(AnomalyError, match=r"backward of broken.*1 NaN of 1 value, and no input has"):
                y.backward(create_graph=create_graph)


def test_the_origin_in_backward_is_an_input_that_was_not_finite():
    x = leaf(1.0)
    y = x * np.array([np.inf])
    with detect_anomaly(), pytest.raises(AnomalyError, match="but the output had 1 infinite of 1 value"):
        y.backward()


def test_transforms_and_checkpoints_are_watched():
    with detect_anomaly():
        with pytest.raises(AnomalyError, match="backward of sqrt"):
            ad.grad(lambda x: np.sqrt(x).sum())(np.zeros(2))
        x = leaf(0.0)
        y = ad.checkpoint(lambda t: np.sqrt(t), x)  # recomputed
        assert y._line == here("# recomputed")
        with pytest.raises(AnomalyError, match="backward of sqrt"):
            y.backward()
        with pytest.raises(AnomalyError, match="log"):
            ad.checkpoint(np.log, x)


# Lines


def test_lines_are_those_of_the_user_through_numpy_and_the_packages():
    def mine(t):
        return np.tanh(t)  # inside mine

    x = leaf(1.0, 2.0)
    with record_lines():
        a = np.mean(x)  # through NumPy
        b = mine(x)
        c = x @ x  # operator
        d = ad.logsumexp(x)  # a composite
    assert a._line == here("# through NumPy") and b._line == here("# inside mine")
    assert c._line == here("# operator") and d._line == here("# a composite")
    e = x + 1
    assert e._line is None


def test_code_without_a_file_has_a_line_without_source():
    scope = {"x": leaf(1.0), "np": np}
    with record_lines():
        exec(compile("y = np.exp(x)", "<somewhere>", "exec"), scope)
    assert scope["y"]._line == "<somewhere>:1"


def test_a_folder_with_a_similar_name_is_not_mistaken_for_the_package(tmp_path):
    file = tmp_path / "autodiff" / "mine.py"
    file.parent.mkdir()
    file.write_text("def f(x):\n    return x * 2  # in a folder named autodiff\n")
    scope = {}
    exec(compile(file.read_text(), str(file), "exec"), scope)
    with record_lines():
        y = scope["f"](leaf(1.0))
    assert y._line == f"{file}:2: return x * 2  # in a folder named autodiff"


# Combining


@pytest.mark.parametrize("outer, inner", [(detect_anomaly, record_lines), (record_lines, detect_anomaly)])
def test_the_two_combine_in_both_orders_and_end_one_by_one(outer, inner):
    x = leaf(-1.0)
    with outer():
        with inner():
            with pytest.raises(AnomalyError):
                np.log(x)
            assert (x * 2)._line
        if outer is detect_anomaly:
            with pytest.raises(AnomalyError):
                np.log(x)
        else:
            assert np.log(x)._line
    assert mode.get() is True and np.log(x)._line is None


def test_they_combine_with_grad_modes():
    x = leaf(4.0)
    with detect_anomaly():
        assert ad.is_grad_enabled() and np.sqrt(x).requires_grad
        with ad.no_grad():
            assert not ad.is_grad_enabled()
            y = np.sqrt(x)
            assert not y.requires_grad and y._line
            with ad.enable_grad():
                assert np.sqrt(x).requires_grad
            with pytest.raises(AnomalyError):
                np.log(-x)
        assert np.sqrt(x).requires_grad
    with ad.no_grad(), record_lines():
        assert not np.sqrt(x).requires_grad and not ad.is_grad_enabled()
        with detect_anomaly(), ad.enable_grad():
            assert np.sqrt(x).requires_grad
    assert mode.get() is True


def test_an_allowed_infinity_is_not_allowed_by_an_outer_watch():
    x = leaf(0.0)
    with detect_anomaly(infinity=False):
        assert (1.0 / x).tolist() == [np.inf]
        with detect_anomaly(), pytest.raises(AnomalyError):
            1.0 / x
    with detect_anomaly(), detect_anomaly(infinity=False), pytest.raises(AnomalyError):
        1.0 / x


def test_they_decorate_functions_and_generators():
    @detect_anomaly()
    def f(x):
        return np.log(x)

    @detect_anomaly
    def bare(x):
        return np.log(x)

    with pytest.raises(AnomalyError):
        f(leaf(-1.0))
    with pytest.raises(AnomalyError):
        bare(leaf(-1.0))
    assert f(leaf(1.0)).tolist() == [0.0]

    @record_lines
    def lines():
        yield leaf(1.0) * 2
        yield leaf(1.0) * 3

    for y in lines():
        assert y._line and (y * 2)._line is None

    @detect_anomaly(infinity=False)
    def g(x):
        return 1.0 / x

    assert g(leaf(0.0)).tolist() == [np.inf]


def test_other_threads_are_not_watched_unless_they_carry_the_context():
    x, found = leaf(-1.0), {}

    def work(name):
        try:
            found[name] = np.log(x)._line
        except AnomalyError:
            found[name] = "anomaly"

    with detect_anomaly():
        context = contextvars.copy_context()
        for name, target in [("plain", work), ("carried", lambda n: context.run(work, n))]:
            thread = threading.Thread(target=target, args=(name,))
            thread.start()
            thread.join()
    assert found == {"plain": None, "carried": "anomaly"}


def test_eight_threads_each_with_its_own_watch():
    errors = []

    def work(k):
        x = leaf(0.0)
        for _ in range(50):
            try:
                if k % 2:
                    with detect_anomaly():
                        np.log(x)
                    errors.append(k)
                else:
                    np.log(x)
            except AnomalyError:
                if k % 2 == 0:
                    errors.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors
