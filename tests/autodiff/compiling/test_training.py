"""Between two calls of a compiled training step its optimiser and its parameters may be changed in any way: the next call
does what the step itself does from there."""

import copy

import numpy as np
import pytest

import autodiff as ad
import nn
import optim


def scaled_state(model, optimizer):
    saved = copy.deepcopy(optimizer.state_dict())
    for state in saved["state"].values():
        state.update({name: 5 * x for name, x in state.items() if isinstance(x, np.ndarray)})
    optimizer.load_state_dict(saved)


def parted_groups(model, optimizer):
    moved = optimizer.param_groups[0]["params"].pop()
    optimizer.add_param_group({"params": [moved], "lr": 0.5})


def replaced_state(model, optimizer):
    for state in optimizer.state.values():
        state.update({name: x + 1 for name, x in state.items() if isinstance(x, np.ndarray)})


def set_options(**options):
    return lambda model, optimizer: optimizer.param_groups[0].update(options)


def arrays_of(o):
    return [(state, k, x) for state in o.state.values() for k, x in state.items() if isinstance(x, np.ndarray)]


def turned_state(m, o):
    for state, k, x in arrays_of(o):
        state[k] = np.asfortranarray(x)


def borrowed_state(m, o):
    for state, k, x in arrays_of(o):
        state[k] = np.frombuffer(bytearray(x.tobytes()), x.dtype).reshape(x.shape)


def transposed(model, optimizer):
    model[0].weight.data = np.asfortranarray(model[0].weight.data)


CHANGES = {
    "other arrays loaded": scaled_state,
    "the same state loaded": lambda m, o: o.load_state_dict(copy.deepcopy(o.state_dict())),
    "arrays replaced": replaced_state,
    "state cleared": lambda m, o: o.state.clear(),
    "state of one parameter cleared": lambda m, o: o.state.pop(m[0].weight),
    "ascent": set_options(maximize=True),
    "amsgrad": set_options(amsgrad=True),
    "momentum": set_options(momentum=0.0),
    "nesterov": set_options(nesterov=True),
    "rate": set_options(lr=0.02),
    "decay": set_options(weight_decay=0.1),
    "another group": parted_groups,
    "a parameter taken out": lambda m, o: o.state.pop(o.param_groups[0]["params"].pop(), None),
    "the order of parameters": lambda m, o: o.param_groups[0]["params"].reverse(),
    "groups replaced": lambda m, o: setattr(o, "param_groups", [dict(g) for g in o.param_groups]),
    "frozen": lambda m, o: m[0].requires_grad_(False),
    "frozen and its rate": lambda m, o: (m[0].requires_grad_(False), set_options(lr=0.3)(m, o)),
    "memory in another order": transposed,
    "state in another order": turned_state,
    "state in memory of others": borrowed_state,
}
MADE = {
    "SGD": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "Adam": lambda p: optim.Adam(p, lr=0.01),
}


def side(kind, compiled, backend="numpy"):
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    optimizer = MADE[kind](model.parameters())

    def step(x):
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    if compiled:
        step = ad.compile(step, params=model, optimizer=optimizer, backend=backend)
    return model, optimizer, step


def assert_same_state(found, expected):
    assert [g.keys() for g in found["param_groups"]] == [g.keys() for g in expected["param_groups"]]
    assert found["state"].keys() == expected["state"].keys()
    for i, state in expected["state"].items():
        assert found["state"][i].keys() == state.keys()
        for name, x in state.items():
            np.testing.assert_allclose(found["state"][i][name], x, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("backend", ["numpy", pytest.param("native", marks=pytest.mark.slow)])
def test_a_step_goes_on_from_what_was_changed_between_calls(kind, change, backend):
    xs = np.random.default_rng(0).normal(size=(5, 6, 3)).astype("f4")
    sides = [side(kind, compiled, backend) for compiled in (False, True)]
    for i, x in enumerate(xs):
        losses = []
        for model, optimizer, step in sides:
            if i == 3:
                CHANGES[change](model, optimizer)
            losses.append(step(x).item())
        np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
        for p, q in zip(sides[0][0].parameters(), sides[1][0].parameters(), strict=True):
            np.testing.assert_allclose(q.data, p.data, rtol=2e-5, atol=1e-7)
            assert (p.grad is None) is (q.grad is None)
        assert_same_state(sides[1][1].state_dict(), sides[0][1].state_dict())


def test_a_rate_and_loaded_arrays_need_no_other_program():
    model, optimizer, step = side("Adam", True)
    x = np.ones((2, 3), "f4")
    for change in (None, None, scaled_state, set_options(lr=0.5), set_options(betas=(0.5, 0.9)), replaced_state):
        if change:
            change(model, optimizer)
        step(x)
    assert len(step.programs) == 2  # the first call has no gradients to forget


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_memory_that_comes_to_be_shared_after_the_first_calls_is_seen(backend):
    w = ad.Tensor(np.arange(3.0), name="w")

    def step(x):
        w.data += 1
        return (2 * x).sum()

    compiled = ad.compile(step, params=[w], backend=backend)
    other = np.ones(3)
    assert [float(compiled(x)) for x in (other, other, w.data, other, w.data)] == [6, 6, 24, 6, 36]


def test_a_class_in_place_of_an_optimiser_is_an_error_that_says_so():
    with pytest.raises(TypeError, match=r"takes an optimiser, not a class; write SGD\(parameters, …\)"):
        ad.compile(lambda x: x.sum(), optimizer=optim.SGD)
