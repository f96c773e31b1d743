"""`nn.summary`: what the table says is true, and the model is afterwards what it was."""

import copy
import math
import re

import numpy as np
import pytest

import autodiff as ad
import nn


class Counting(nn.Linear):
    """Counts as Linear does, whatever Linear itself defines."""

    def multiply_adds(self, input_shapes, output_shape):
        assert input_shapes == (output_shape[:-1] + (self.in_features,),)
        return math.prod(output_shape) * self.in_features


class Noisy(nn.Module):
    """Changes everything that `summary` must leave as it was, in every mode."""

    def __init__(self, rng):
        self.rng = rng
        self.register_buffer("mean", np.zeros(3))
        self.register_buffer("steps", np.array(0))
        self.register_buffer("cache", None, persistent=False)

    def forward(self, x):
        self.mean.data += 1.0
        self.steps = ad.Tensor(self.steps.data + 1)
        self.cache = ad.Tensor(x.data)
        self.training = not self.training
        return x + self.rng.normal() + nn.random.generator().normal()


def model():
    return nn.Sequential(Counting(64, 32), nn.ReLU(), nn.Sequential(Counting(32, 32), Counting(32, 10)))


def test_the_table_lists_modules_shapes_parameters_and_multiply_adds():
    table = nn.summary(model(), np.zeros((5, 64)))
    assert [(r.path, r.depth, r.kind, r.output_shape, r.parameters, r.multiply_adds, r.calls) for r in table.rows] == [
        ("", 0, "Sequential", (5, 10), 0, 0, 1),
        ("0", 1, "Counting", (5, 32), 2080, 5 * 64 * 32, 1),
        ("1", 1, "ReLU", (5, 32), 0, 0, 1),
        ("2", 1, "Sequential", (5, 10), 0, 0, 1),
        ("2.0", 2, "Counting", (5, 32), 1056, 5 * 32 * 32, 1),
        ("2.1", 2, "Counting", (5, 10), 330, 5 * 32 * 10, 1),
    ]
    assert table.parameters == table.trainable == 3466 and table.nbytes == 4 * 3466
    assert table.multiply_adds == 5 * 32 * (64 + 32 + 10)
    assert str(table).split("\n") == [
        "layer             output shape  parameters  multiply–adds",
        "─────────────────────────────────────────────────────────",
        "Sequential        (5, 10)",
        "  0 · Counting    (5, 32)            2,080         10,240",
        "  1 · ReLU        (5, 32)",
        "  2 · Sequential  (5, 10)",
        "    0 · Counting  (5, 32)            1,056          5,120",
        "    1 · Counting  (5, 10)              330          1,600",
        "─────────────────────────────────────────────────────────",
        "total                                3,466         16,960",
        "3,466 trainable parameters, 0 frozen, 13.54 KiB",
    ]


def test_multiply_adds_are_half_of_what_pytorch_s_counter_counts():
    """Which counts a multiply–add as two operations."""
    pytest.importorskip("torch")
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    theirs = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    with FlopCounterMode(display=False) as counter:
        theirs(torch.zeros(5, 64))
    mine = nn.Sequential(Counting(64, 32), nn.ReLU(), Counting(32, 10))
    assert 2 * nn.summary(mine, np.zeros((5, 64))).multiply_adds == counter.get_total_flops()


def test_a_smaller_depth_counts_what_is_inside_in_the_row_that_contains_it():
    whole = nn.summary(model(), np.zeros((5, 64)))
    for depth, n in [(0, 1), (1, 4), (2, 6), (9, 6)]:
        table = nn.summary(model(), np.zeros((5, 64)), depth=depth)
        assert len(table.rows) == n
        assert (table.parameters, table.multiply_adds) == (whole.parameters, whole.multiply_adds)
    assert nn.summary(model(), np.zeros((5, 64)), depth=1).rows[3].parameters == 1386
    with pytest.raises(TypeError, match="depth"):
        nn.summary(model(), np.zeros((5, 64)), depth="all")


def test_shared_parts_count_once_called_ones_as_often_as_they_are_called_and_frozen_ones_apart():
    layer = Counting(4, 4)
    net = nn.Sequential(layer, nn.Sequential(layer), Counting(4, 4).requires_grad_(False))
    net[2].weight = layer.weight
    table = nn.summary(net, np.zeros((2, 4)))
    assert table.parameters == 20 + 4 and table.multiply_adds == 3 * 2 * 16
    assert [row.parameters for row in table.rows] == [0, 20, 0, 4]
    assert table.rows[1].calls == 2 and "0 · Counting × 2" in str(table)
    assert table.trainable == 20 and "4 frozen" in str(table)


def test_several_inputs_and_outputs_and_modules_that_are_not_called():
    class Cell(nn.Module):
        def __init__(self):
            self.unused = nn.Linear(2, 2)

        def forward(self, x, state=None, *rest, gate=None, **options):
            return x, {"h": x[0], "n": [3, x[:, 0]]}

        def multiply_adds(self, input_shapes, output_shape):
            self.met = input_shapes, output_shape
            return 7

    class Outer(nn.Module):
        def __init__(self):
            self.cell = Cell()

        def forward(self, x, y):
            return self.cell(x, None, y, gate=x)[0]

    net = Outer()
    table = nn.summary(net, ad.Tensor(np.zeros((5, 3))), np.zeros(2))
    assert net.cell.met == (((5, 3), None, (2,), (5, 3)), ((5, 3), {"h": (3,), "n": (None, (5,))}))
    assert table.multiply_adds == 7 and [row.calls for row in table.rows] == [1, 1, 0]
    assert "(5, 3), (3,), (5,)" in str(table) and re.search(r"unused · Linear +— +6$", str(table), re.MULTILINE)


def test_the_model_is_afterwards_what_it_was():
    net = nn.Sequential(nn.Linear(3, 3), Noisy(np.random.default_rng(1)), nn.Tanh())
    net.train()
    net[2].eval()
    net[0].weight.grad = np.ones((3, 3), "float32")
    modes = [m.training for m in net.modules()]
    state, buffers = copy.deepcopy(net.state_dict()), list(net.buffers())
    arrays = [b.data for b in buffers]
    generators = nn.random.generator(), net[1].rng
    draws = [g.bit_generator.state for g in generators]
    seen = []
    kept = net.register_forward_hook(lambda m, args, y: seen.append(y))
    nn.summary(net, np.ones((2, 3), "float32"))
    assert [m.training for m in net.modules()] == modes
    assert all(a is b for a, b in zip(net.buffers(), buffers)) and net[1].cache is None
    assert all(b.data is a for b, a in zip(buffers, arrays))
    for name, t in net.state_dict().items():
        np.testing.assert_array_equal(t.data, state[name].data)
    assert nn.random.generator() is generators[0] and [g.bit_generator.state for g in generators] == draws
    assert net[0].weight.grad.data.all() and not seen[0].requires_grad
    kept.remove()
    assert not any(m._hooks for m in net.modules())


def test_after_an_error_the_model_is_what_it_was_and_the_error_tells_where():
    net = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Tanh(), nn.Linear(4, 2)))
    with pytest.raises(ValueError, match=r"\(2, 3\)") as caught:
        nn.summary(net, np.ones((2, 3)))
    assert caught.value.__notes__ == ["nn.summary: raised in '1.1', a Linear"]
    assert all(m.training and not m._hooks for m in net.modules())
    with pytest.raises(TypeError, match="takes a module"):
        nn.summary(np.tanh, np.ones(3))


def test_a_graph_recorded_before_still_fits():
    net = nn.Sequential(nn.Linear(3, 3), Noisy(np.random.default_rng(1)))
    y = net(ad.Tensor(np.ones((2, 3))))
    nn.summary(net, np.ones((2, 3)))
    y.sum().backward()


def test_a_notebook_shows_the_same_cells_escaped():
    class Odd(nn.Linear):
        pass

    Odd.__name__ = "<Odd>"
    table = nn.summary(nn.Sequential(Odd(3, 2)), np.ones((2, 3)))
    html = table._repr_html_()
    assert "&lt;Odd&gt;" in html and "<Odd>" not in html
    cells = re.findall(r"<t[dh] [^>]*>(.*?)</t[dh]>", html)
    assert cells[:6] == ["layer", "output shape", "parameters", "multiply–adds", "Sequential", "(2, 2)"]
    assert cells[9] == "(2, 2)" and cells[10] == "8" and html.count("<tr>") == 4


LAYERS = {  # arguments of the layer, shapes of its inputs
    "Linear": ((3, 2), [(5, 4, 3)]),
    "Conv1d": ((4, 6, 3, 2), [(2, 4, 9)]),
    "Conv2d": ((4, 6, (3, 2), 1, 1, 2, 2), [(2, 4, 9, 8)]),
    "ConvTranspose1d": ((4, 6, 3, 2), [(2, 4, 9)]),
    "ConvTranspose2d": ((4, 6, (3, 2), 2), [(2, 4, 5, 5)]),
    "RNNCell": ((3, 4), [(5, 3)]),
    "LSTMCell": ((3, 4), [(5, 3)]),
    "GRUCell": ((3, 4), [(5, 3)]),
    "RNN": ((3, 4, 2), [(7, 5, 3)]),
    "LSTM": ((3, 4, 2), [(7, 5, 3)]),
    "GRU": ((3, 4, 2), [(7, 5, 3)]),
    "MultiheadAttention": ((8, 2), [(7, 5, 8), (6, 5, 8), (6, 5, 8)]),
}


@pytest.mark.filterwarnings("ignore:TF32")  # torch's, of switching mkldnn off
@pytest.mark.parametrize("name", LAYERS)
def test_the_multiply_adds_of_each_layer_are_half_of_what_pytorch_s_counter_counts(name):
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    kind = getattr(nn, name)
    arguments, shapes = LAYERS[name]
    theirs = getattr(torch.nn, name)(*arguments)
    with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:  # which hides its LSTM
        theirs(*(torch.zeros(shape, requires_grad=True) for shape in shapes))
    mine = nn.summary(kind(*arguments), *(np.zeros(shape, "float32") for shape in shapes))
    assert 2 * mine.multiply_adds == counter.get_total_flops() > 0


def test_a_vision_transformer_costs_what_its_arithmetic_says():
    model = nn.VisionTransformer(
        image_size=8, patch_size=4, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16, num_classes=5
    )
    table = nn.summary(model, np.zeros((1, 3, 8, 8), "float32"))
    cost = nn.vit_arithmetic(image_size=8, patch_size=4, dim=8, depth=2, heads=2, mlp_ratio=2, num_classes=5)
    assert (table.multiply_adds, table.parameters) == (cost["multiply_adds"], cost["parameters"])


@pytest.mark.parametrize(
    "character", ["\n", "\r", "\x1b[31m", "\u202e", "\u2028", "\u2029", "\x85", "\x07", "\u200b", "\t"]
)
def test_names_are_shown_as_one_visible_line(character):
    odd = type(f"Odd{character}Class", (nn.Linear,), {})
    layers = nn.ModuleDict({f"a{character}b": odd(2, 2)})

    class Net(nn.Module):
        def __init__(self):
            self.layers = layers

        def forward(self, x):
            return self.layers[f"a{character}b"](x)

    table = nn.summary(Net(), np.ones((1, 2)))
    escaped = character.encode("unicode_escape").decode()[:2]
    for text in (str(table), table._repr_html_()):
        lines = text.split("\n")
        assert all(line.isprintable() for line in lines) and f"a{escaped}" in text and f"Odd{escaped}" in text
    assert len(str(table).splitlines()) == 8
    assert table.rows[2].path == f"layers.a{character}b"  # the name itself is what it is


def test_a_model_of_300_nested_containers_that_can_be_called_has_a_summary():
    import sys

    model = nn.Linear(2, 3)
    for _ in range(300):
        model = nn.Sequential(model)
    x, usual = np.ones((1, 2)), sys.getrecursionlimit()
    try:
        for limit in range(500, 5000, 20):  # the least with which it can be called
            sys.setrecursionlimit(limit)
            try:
                model(x)
            except RecursionError:
                continue
            break
        table = nn.summary(model, x)
        assert sys.getrecursionlimit() == limit
    finally:
        sys.setrecursionlimit(usual)
    assert len(table.rows) == 301 and table.parameters == 9 and table.rows[-1].output_shape == (1, 3)
    assert len(str(table).splitlines()) == 301 + 5 and "Linear" in table._repr_html_()
