"""The report of a model's layers: numbers against closed forms and torch, and a model that is what it was."""

import numpy as np
import pytest

import autodiff as ad
import nn


def linear_net(rng, *sizes):
    model = nn.Sequential(*(nn.Linear(a, b, dtype="float64") for a, b in zip(sizes, sizes[1:])))
    for p in model.parameters():
        p.data = rng.normal(size=p.shape)
    return model


def test_a_linear_net_has_the_numbers_of_matrix_algebra(rng):
    model, x, c = linear_net(rng, 3, 4, 2), rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    (W, b), (V, d) = [(layer.weight.numpy(), layer.bias.numpy()) for layer in model]
    report = nn.layer_report(model, x, lambda output: (output * c).sum())
    h = x @ W.T + b
    first, second = report.rows
    assert report.loss == pytest.approx(((h @ V.T + d) * c).sum())
    assert (first.path, first.kind, first.calls, second.path) == ("0", "Linear", 1, "1")
    assert first.std == pytest.approx(h.std()) and second.std == pytest.approx((h @ V.T + d).std())
    assert first.gradient == pytest.approx(np.abs(c @ V).mean()) and second.gradient == pytest.approx(np.abs(c).mean())
    norm = lambda *parts: np.sqrt(sum((p**2).sum() for p in parts))
    assert second.parameter_gradient == pytest.approx(norm(c.T @ h, c.sum(axis=0)))
    assert first.parameter_gradient == pytest.approx(norm((c @ V).T @ x, (c @ V).sum(axis=0)))
    assert first.dead is None and report.steps == []


def test_a_network_has_the_numbers_of_torch(rng):
    torch = pytest.importorskip("torch")
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    x, y = rng.normal(size=(16, 4)), rng.integers(0, 3, 16)
    theirs = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
    ).double()  # fmt: skip
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in model.state_dict().items()})
    outputs, z = [], torch.tensor(x)
    for layer in theirs:
        z = layer(z)
        z.retain_grad()
        outputs.append(z)
    torch.nn.functional.cross_entropy(z, torch.tensor(y)).backward()
    for row, layer, output in zip(
        nn.layer_report(model, x, nn.CrossEntropyLoss(), y).rows, theirs, outputs, strict=True
    ):
        assert row.std == pytest.approx(output.std(correction=0).item(), rel=1e-9)
        assert row.gradient == pytest.approx(output.grad.abs().mean().item(), rel=1e-9)
        grads = [p.grad.ravel() for p in layer.parameters()]
        assert (row.parameter_gradient is None) == (not grads)
        if grads:
            assert row.parameter_gradient == pytest.approx(torch.cat(grads).norm().item(), rel=1e-9)


def test_dead_units_are_those_without_a_derivative_in_the_whole_batch():
    x = np.array([[-1.0, -1.0, 2.0, 0.5], [-2.0, 3.0, 1.0, -0.5]])
    (row,) = nn.layer_report(nn.Sequential(nn.ReLU()), x).rows
    assert row.dead == 1 / 4 and row.saturated == 4 / 8


def test_saturated_is_where_the_derivative_is_less_than_a_twentieth_of_its_largest():
    edge = np.arctanh(np.sqrt(0.95))  # tanh′ = 1 − tanh² = 0.05
    x = np.array([[-edge - 0.01, -edge + 0.01, 0.0, edge + 0.01]])
    assert nn.layer_report(nn.Tanh(), x).rows[0].saturated == 2 / 4
    assert nn.layer_report(nn.Tanh(), np.full((3, 2), 5.0)).rows[0][-2:] == (
        0.0,
        1.0,
    )  # saturated to the last, not dead
    edge = 2 * edge  # σ(x) = (1 + tanh(x/2)) / 2
    assert nn.layer_report(nn.Sigmoid(), np.array([[edge + 0.01, edge - 0.01]])).rows[0].saturated == 1 / 2


def test_activations_that_mix_elements_or_have_parameters_are_no_trouble(rng):
    x = rng.normal(size=(4, 6)).astype("float32")
    for layer in (nn.Softmax(-1), nn.GLU()):
        assert nn.layer_report(layer, x).rows[0][-2:] == (None, None)
    assert nn.layer_report(nn.PReLU(6), x).rows[0][-2:] == (0.0, 0.0)


def test_a_model_is_afterwards_what_it_was(rng):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.LSTM(4, 4), nn.Linear(4, 1))
    model[4].weight.grad = np.ones((1, 4), "float32")
    run = lambda output: output[0].sum()
    model = nn.Sequential(*list(model)[:4])
    before = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    state = str(nn.get_rng_state())
    nn.layer_report(model, rng.normal(size=(6, 3)).astype("float32"), run)
    assert {k: v.numpy().tolist() for k, v in model.state_dict().items()} == {k: v.tolist() for k, v in before.items()}
    assert str(nn.get_rng_state()) == state and all(p.grad is None for p in model.parameters())
    assert all(not m._hooks and "forward" not in vars(m) for m in model.modules())


def test_what_a_model_raises_leaves_it_as_it_was():
    model = nn.Sequential(nn.RNN(3, 2), nn.Linear(5, 1))
    with pytest.raises(Exception):
        nn.layer_report(model, np.ones((4, 1, 3), "float32"))
    assert all(not m._hooks and "forward" not in vars(m) for m in model.modules())


def test_without_a_loss_there_are_no_gradients_and_parts_the_loss_does_not_see_have_gradient_0(rng):
    model = linear_net(rng, 3, 4, 2)
    assert [row[4:6] for row in nn.layer_report(model, np.ones((2, 3))).rows] == [(None, None)] * 2
    first, second = nn.layer_report(model, np.ones((2, 3)), lambda output: model[0].bias.sum()).rows
    assert first.gradient == second.gradient == second.parameter_gradient == 0.0
    assert first.parameter_gradient == pytest.approx(2.0)


def test_frozen_layers_have_no_gradient_of_parameters_but_pass_theirs_on(rng):
    model = linear_net(rng, 3, 4, 2)
    model[1].requires_grad_(False)
    first, second = nn.layer_report(model, np.ones((2, 3)), lambda output: output.sum()).rows
    assert second.parameter_gradient is None and second.gradient == 1.0 and first.parameter_gradient > 0


def test_several_inputs_and_a_target_are_passed_on(rng):
    class Both(nn.Module):
        def __init__(self):
            self.inner = nn.Linear(3, 1, dtype="float64")

        def forward(self, a, b):
            return self.inner(a) - self.inner(b)

    model, a, b = Both(), rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    report = nn.layer_report(model, (a, b), nn.MSELoss(), np.zeros((4, 1)))
    (row,) = report.rows
    assert row.calls == 2 and report.loss == pytest.approx((((a - b) @ model.inner.weight.numpy().T) ** 2).mean())
    both = np.concatenate([model.inner(a).numpy(), model.inner(b).numpy()])
    assert row.std == pytest.approx(both.std()) and len(report.steps[0].std) == 2


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_the_gradients_at_the_time_steps_are_torchs_by_way_of_all_later_steps(kind, rng):
    torch = pytest.importorskip("torch")
    layer = getattr(nn, kind)(3, 4, dtype="float64")
    cell = getattr(torch.nn, kind + "Cell")(3, 4).double()
    cell.load_state_dict({k.removesuffix("_l0"): torch.tensor(v.numpy()) for k, v in layer.state_dict().items()})
    x, weights = rng.normal(size=(7, 2, 3)), rng.normal(size=(7, 2, 4))
    states, hs = None, []
    for step in torch.tensor(x):
        states = cell(step, states)
        h = states[0] if kind == "LSTM" else states
        h.retain_grad()
        hs.append(h)
    (torch.stack(hs) * torch.tensor(weights)).sum().backward()
    report = nn.layer_report(layer, x, lambda output: (output[0] * weights).sum())
    (steps,) = report.steps
    np.testing.assert_allclose(steps.gradient, [h.grad.abs().mean().item() for h in hs], rtol=1e-9)
    np.testing.assert_allclose(steps.std, [h.std(correction=0).item() for h in hs], rtol=1e-9)


def test_the_gradient_of_a_linear_recurrence_vanishes_as_its_weight_to_the_power_of_the_distance():
    cell = nn.RNN(1, 1, nonlinearity="relu", bias=False, dtype="float64")
    cell.weight_ih_l0.data, cell.weight_hh_l0.data = np.ones((1, 1)), np.full((1, 1), 0.5)
    (steps,) = nn.layer_report(cell, np.ones((10, 1, 1)), lambda output: output[0][-1].sum()).steps
    np.testing.assert_allclose(steps.gradient, 0.5 ** np.arange(9, -1, -1), rtol=1e-12)


def test_a_cell_that_is_called_in_a_loop_has_time_steps_too():
    class Loop(nn.Module):
        def __init__(self):
            self.cell = nn.RNNCell(1, 1, bias=False, nonlinearity="relu", dtype="float64")
            self.cell.weight_ih.data, self.cell.weight_hh.data = np.ones((1, 1)), np.full((1, 1), 2.0)

        def forward(self, x):
            h = None
            for step in x:
                h = self.cell(step, h)
            return h

    report = nn.layer_report(Loop(), ad.Tensor(np.ones((5, 1, 1))), lambda h: h.sum())
    np.testing.assert_allclose(report.steps[0].gradient, 2.0 ** np.arange(4, -1, -1))
    assert report.rows[0].calls == 5 and "cell: 5 time steps" in repr(report)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((np.tanh, np.ones(3)), "takes a module, not ufunc"),
        ((nn.Tanh(), np.ones(3), 3), "loss is a function of output and target, not int"),
        (
            (nn.Tanh(), np.ones(3), None, np.ones(3)),
            r"a target needs a loss; write layer_report\(model, batch, loss, target\)",
        ),
        ((nn.Tanh(), np.ones(3), lambda y: y), r"one element, not one of shape \(3,\)"),
        ((nn.Tanh(), np.ones(3), lambda y: 1.0), "one element, not float"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(TypeError, match=message):
        nn.layer_report(*arguments)


def test_the_representation_is_a_table_and_a_notebook_gets_one_too(rng):
    report = nn.layer_report(nn.MLP([3, 4, 2]), rng.normal(size=(5, 3)).astype("float32"), lambda y: y.sum())
    assert repr(report).splitlines()[0].split() == ["layer", "std", "mean", "|δ|", "‖∇θ‖", "dead", "saturated"]
    assert "<table" in report._repr_html_()
    assert report.table().rows[0]["std"] == report.rows[0].std


def test_a_report_of_complex_layers_measures_absolute_values():
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(3, 4, dtype="complex128", rng=rng), nn.Tanh())
    x = rng.normal(size=(5, 3)) + 1j * rng.normal(size=(5, 3))
    report = nn.layer_report(model, x, lambda out: (abs(out) ** 2).sum())
    out = model[0](x)
    loss = (abs(np.tanh(out)) ** 2).sum()
    slopes = ad.gradients(loss, [out, *model.parameters()])
    linear, tanh = report.rows
    assert linear.std == pytest.approx(np.sqrt((abs(out.data - out.data.mean()) ** 2).mean()))
    assert linear.gradient == pytest.approx(abs(slopes[0].data).mean())
    assert linear.parameter_gradient == pytest.approx(np.sqrt(sum((abs(g.data) ** 2).sum() for g in slopes[1:])))
    assert tanh.dead is None and tanh.saturated is None
