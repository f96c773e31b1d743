"""Initial value problems: SciPy's solutions, and derivatives against closed forms and differences."""

import tracemalloc

import numpy as np
import pytest
import scipy.integrate

import autodiff as ad
from autodiff import Tensor, solvers
from autodiff.checking.gradcheck import gradcheck, gradgradcheck

A = np.array([[-0.3, 1.0], [-1.0, -0.2]])


def pendulum(t, y, k):
    return np.stack([y[1], -k * np.sin(y[0]) + 0.1 * t])


@pytest.mark.parametrize("method", ["RK23", "RK45", "DOP853"])
def test_the_steps_are_scipys(method):
    for span in ((0.0, 3.0), (2.0, -1.0)):
        found = solvers.solve_ivp(pendulum, span, [1.0, 0.2], method, args=(1.3,), rtol=1e-6)
        numbers = lambda t, y: np.array([y[1], -1.3 * np.sin(y[0]) + 0.1 * t])
        right = scipy.integrate.solve_ivp(numbers, span, [1.0, 0.2], method, rtol=1e-6)
        np.testing.assert_allclose(found.t.numpy(), right.t, rtol=1e-12)
        np.testing.assert_allclose(found.y.numpy(), right.y, rtol=1e-11, atol=1e-12)


def test_a_linear_system_has_the_derivatives_of_the_matrix_exponential():
    times = np.array([0.5, 1.0, 2.0])
    f = lambda a, y0: (
        solvers.solve_ivp(lambda t, y, a: a @ y, (0, 2), y0, "DOP853", times, (a,), rtol=1e-11, atol=1e-12).y
    )
    closed = lambda a, y0: ad.stack([ad.linalg.expm(a * t) @ y0 for t in times], axis=-1)
    at = (A, np.array([1.0, -0.5]))
    np.testing.assert_allclose(f(*at).numpy(), closed(*at).numpy(), rtol=1e-9)
    for found, right in zip(ad.jacobian(f, (0, 1))(*at), ad.jacobian(closed, (0, 1))(*at)):
        np.testing.assert_allclose(found, right, rtol=1e-7, atol=1e-9)
    losses = [lambda a, h=h: (h(a, at[1]) ** 2).sum() for h in (f, closed)]
    e = np.array([[1.0, 0.3], [-0.2, 0.5]])
    np.testing.assert_allclose(*[ad.hvp(loss, A, e) for loss in losses], rtol=1e-7)
    np.testing.assert_allclose(*[ad.jvp(h, at, (e, at[1]))[1] for h in (f, closed)], rtol=1e-7)


def test_derivatives_by_state_parameter_and_times_are_those_of_differences():
    def f(y0, k, t):
        return solvers.solve_ivp(pendulum, (t[0], t[1]), y0, "DOP853", t[1:], (k,), rtol=1e-9, atol=1e-9).y

    at = (np.array([1.0, 0.2]), 1.3, np.array([0.1, 1.1]))
    gradcheck(f, at)
    gradgradcheck(f, at, rtol=1e-4)


def test_a_decay_too_fast_to_be_solved_backwards_has_its_gradient_all_the_same():
    f = lambda k: solvers.solve_ivp(
        lambda t, y, k: -k * (y - np.cos(t)), (0.0, 3.0), [0.0], t_eval=[3.0], args=(k,), rtol=1e-8
    ).y[0, 0]
    exact = lambda k, t=3.0: (k * k * np.cos(t) + k * np.sin(t)) / (1 + k * k)
    slope = (exact(40 + 1e-4) - exact(40 - 1e-4)) / 2e-4
    np.testing.assert_allclose(ad.grad(f)(40.0), slope, rtol=1e-3)


def test_the_steps_between_given_times_are_chosen_from_the_state_there():
    times = [1.0, 1.9, 1.99]
    found = solvers.solve_ivp(lambda t, y: y * y, (0, 1.99), [0.5], t_eval=times, rtol=1e-8, atol=1e-8).y[0]
    np.testing.assert_allclose(found.numpy(), [1 / (2 - t) for t in times], rtol=1e-5)


def test_a_tensor_that_the_function_reads_has_its_gradient_too():
    k = Tensor(0.5, requires_grad=True)
    y = solvers.odeint(lambda y, t: -k * y, 1.0, [0.0, 1.0, 2.0])
    np.testing.assert_allclose(y.numpy()[:, 0], np.exp([0.0, -0.5, -1.0]), rtol=1e-8)
    np.testing.assert_allclose(ad.gradients(y[-1].sum(), k)[0].numpy(), -2 * np.exp(-1), rtol=1e-7)
    right = scipy.integrate.odeint(lambda y, t: -0.5 * y, 1.0, [0.0, 1.0, 2.0])
    np.testing.assert_allclose(y.numpy(), right, rtol=1e-6)


@pytest.mark.parametrize("times", [None, [0.2, 0.2, 1.1]])
def test_checkpoints_change_no_value_and_no_derivative_of_any_order(times):
    def f(y0, k, end, adjoint):
        at = None if times is None else np.stack([*times[:-1], end])
        y = solvers.solve_ivp(pendulum, (0.0, end), y0, "RK45", at, (k,), rtol=1e-6, adjoint=adjoint).y
        return (y**3).sum()

    at, along = (np.array([1.0, 0.2]), 1.3, 1.1), (np.array([0.3, -1.0]), 0.7, 0.2)
    direct, checkpointed = (lambda *x, a=adjoint: f(*x, a) for adjoint in ("direct", "checkpoint"))
    assert checkpointed(*map(ad.Tensor, at)).item() == direct(*map(ad.Tensor, at)).item()
    for transform in (lambda f: ad.grad(f, (0, 1, 2))(*at), lambda f: ad.jvp(f, at, along),
                      lambda f: ad.hvp(f, at, along)):  # fmt: skip
        for found, right in zip(transform(checkpointed), transform(direct)):
            np.testing.assert_allclose(found, right, rtol=1e-11)


def test_checkpoints_keep_the_memory_of_a_few_steps_of_many():
    def peak(adjoint):
        a = Tensor(A, requires_grad=True)
        tracemalloc.start()
        y = solvers.solve_ivp(lambda t, y: a @ y, (0, 2), [1.0, 0.5], "RK23", [2.0], max_step=0.02, adjoint=adjoint).y
        y.sum().backward()
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used, a.grad.data

    (much, right), (little, found) = peak("direct"), peak("checkpoint")
    np.testing.assert_allclose(found, right, rtol=1e-13)
    assert little < much / 3  # 100 steps: 10 states and 10 steps


def test_what_does_not_fit_is_named():
    f = lambda t, y: -y
    with pytest.raises(ValueError, match="adjoint='backsolve'; take one of direct, checkpoint"):
        solvers.odeint(lambda y, t: -y, 1.0, [0.0, 1.0], adjoint="backsolve")
    with pytest.raises(ValueError, match="method='Radau' has no derivative here; take one of RK23"):
        solvers.solve_ivp(f, (0, 1), [1.0], "Radau")
    with pytest.raises(ValueError, match="between 0 and 1"):
        solvers.solve_ivp(f, (0, 1), [1.0], t_eval=[0.5, 2.0])
    with pytest.raises(ValueError, match=r"y0 of shape \(\)"):
        solvers.solve_ivp(f, (0, 1), 1.0)
    with pytest.raises(ValueError, match=r"a state of shape \(2,\), but the function gives shape \(\)"):
        solvers.solve_ivp(lambda t, y: y.sum(), (0, 1), [1.0, 2.0])
    with pytest.raises(
        ValueError, match=r"shape \(1,\), but .* shape \(\); it is one of \(t, y\), that of odeint one of"
    ):
        solvers.odeint(lambda t, y: -y, 1.0, [0.0, 1.0])
    with pytest.raises(TypeError, match="solve_ivp: is defined for real numbers"):
        solvers.solve_ivp(f, (0, 1), [1j])
    with pytest.raises(ValueError, match="no solution beyond"):
        solvers.solve_ivp(lambda t, y: y * y, (0.0, 2.0), [1.0], rtol=1e-6)


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_right_side_may_be_a_list_as_scipys(kind):
    f = lambda t, y, k: kind([y[1], -k * np.sin(y[0]) + 0.1 * t])
    turned = lambda y, t, k: f(t, y, k)
    end = lambda f: lambda k: solvers.solve_ivp(f, (0.0, 1.0), [1.0, 0.2], t_eval=[1.0], args=(k,)).y[:, 0]
    np.testing.assert_array_equal(end(f)(1.3).numpy(), end(pendulum)(1.3).numpy())
    np.testing.assert_array_equal(ad.jacobian(end(f))(1.3), ad.jacobian(end(pendulum))(1.3))
    found = solvers.odeint(turned, [1.0, 0.2], [0.0, 1.0], (1.3,))
    np.testing.assert_allclose(found, scipy.integrate.odeint(turned, [1.0, 0.2], [0.0, 1.0], (1.3,)), rtol=1e-6)


def test_an_array_of_tensors_names_what_to_write():
    k = Tensor(1.3, requires_grad=True)
    with pytest.raises(TypeError, match=r"Write ad\.array"):
        solvers.solve_ivp(lambda t, y, k: np.array([-k * y[0]]), (0.0, 1.0), [1.0], args=(k,))
