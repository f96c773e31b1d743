"""What people write every day with modules and optimisers, each as a short program, against PyTorch's run of the same."""

import copy

import numpy as np
import pytest

import autodiff as ad
import nn
import optim
from tests.against_torch import close


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def twins(torch, make):
    """The same network here and in torch, with the same weights, in double precision."""
    ours, theirs = make(nn).double(), make(torch.nn).double()
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    return ours, theirs


def same_weights(ours, theirs, tolerance=1e-9):
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(p.data, q, tolerance)


def perceptron(library):
    return library.Sequential(library.Linear(2, 8), library.Tanh(), library.Linear(8, 1))


def test_maml_learns_weights_from_which_one_step_fits_a_task(torch, rng):
    ours, theirs = twins(torch, perceptron)
    x, tasks = rng.normal(size=(6, 2)), rng.normal(size=(3, 6, 1))

    def meta_loss(call, grad, params, x, tasks):
        def inner(p, y):
            return ((call(p, x) - y) ** 2).mean()

        adapted = [{k: p - 0.1 * grad(inner)(params, y)[k] for k, p in params.items()} for y in tasks]
        return sum(inner(p, y) for p, y in zip(adapted, tasks)) / len(tasks)

    def ours_loss(params):
        return meta_loss(lambda p, x: nn.functional_call(ours, p, x), ad.grad, params, x, tasks)

    def theirs_loss(params):
        call = lambda p, x: torch.func.functional_call(theirs, p, x)
        return meta_loss(call, torch.func.grad, params, torch.tensor(x), torch.tensor(tasks))

    optimizer, other = optim.Adam(ours.parameters(), lr=0.05), torch.optim.Adam(theirs.parameters(), lr=0.05)
    losses = []
    for _ in range(5):
        for model, loss, step in ((ours, ours_loss, optimizer), (theirs, theirs_loss, other)):
            step.zero_grad()
            losses.append(loss(dict(model.named_parameters())))
            losses[-1].backward(), step.step()
    same_weights(ours, theirs)
    assert losses[-2].item() < losses[0].item()


def test_a_gradient_penalty_trains_a_critic(torch, rng):
    ours, theirs = twins(torch, perceptron)
    optimizers = (
        optim.Adam(ours.parameters(), lr=0.01, betas=(0, 0.9)),
        torch.optim.Adam(theirs.parameters(), lr=0.01, betas=(0.0, 0.9)),
    )
    for _ in range(5):
        real, fake, t = rng.normal(size=(4, 2)), rng.normal(size=(4, 2)) + 2, rng.uniform(size=(4, 1))
        between = ad.Tensor(t * real + (1 - t) * fake, requires_grad=True)
        (slope,) = ad.gradients(ours(between).sum(), [between], create_graph=True)
        penalty = ((np.linalg.norm(slope, axis=1) - 1) ** 2).mean()
        loss = ours(fake).mean() - ours(real).mean() + 10 * penalty
        between_ = torch.tensor(between.data, requires_grad=True)
        (slope_,) = torch.autograd.grad(theirs(between_).sum(), between_, create_graph=True)
        penalty_ = ((slope_.norm(dim=1) - 1) ** 2).mean()
        loss_ = theirs(torch.tensor(fake)).mean() - theirs(torch.tensor(real)).mean() + 10 * penalty_
        for optimizer, value in zip(optimizers, (loss, loss_)):
            optimizer.zero_grad(), value.backward(), optimizer.step()
        assert loss.item() == pytest.approx(loss_.item(), rel=1e-9)
    same_weights(ours, theirs)


class Language(nn.Module):
    """Embedding and output layer share their weights."""

    def __init__(self, words=5, width=3):
        self.embedding = nn.Embedding(words, width)
        self.output = nn.Linear(width, words, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, words):
        return self.output(np.tanh(self.embedding(words)))


def test_tied_weights_get_one_gradient_are_stepped_once_and_stay_tied_through_a_checkpoint(tmp_path):
    pytest.importorskip("safetensors")
    words, next_words, models = np.array([0, 3, 1]), np.array([3, 1, 4]), []

    def train(model, optimizer, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(words), next_words).backward()
            optimizer.step()

    for _ in range(2):
        nn.manual_seed(0)
        models.append((model := Language().double(), optim.AdamW(model.parameters(), lr=0.1)))
    assert len(list(model.parameters())) == 1
    loss = lambda w: nn.functional.cross_entropy(np.tanh(w[words]) @ w.T, next_words)
    nn.functional.cross_entropy(model(words), next_words).backward()
    np.testing.assert_allclose(model.embedding.weight.grad.data, ad.grad(loss)(model.output.weight.data), rtol=1e-12)
    train(*models[0], 6), train(*models[1], 3)
    state = {"model": model.state_dict(), "optimizer": models[1][1].state_dict()}
    nn.save(state, tmp_path / "checkpoint.safetensors")
    other = Language().double()
    optimizer, saved = optim.AdamW(other.parameters()), nn.load(tmp_path / "checkpoint.safetensors")
    other.load_state_dict(saved["model"]), optimizer.load_state_dict(saved["optimizer"])
    train(other, optimizer, 3)
    assert other.output.weight is other.embedding.weight
    np.testing.assert_array_equal(other.output.weight.data, models[0][0].embedding.weight.data)


def test_gradients_accumulate_are_clipped_and_step_under_a_cosine(torch, rng):
    ours, theirs = twins(torch, perceptron)
    a, b = (
        optim.SGD(ours.parameters(), lr=0.5, momentum=0.9),
        torch.optim.SGD(theirs.parameters(), lr=0.5, momentum=0.9),
    )
    schedules = optim.lr_scheduler.CosineAnnealingLR(a, 5), torch.optim.lr_scheduler.CosineAnnealingLR(b, 5)
    for _ in range(5):
        a.zero_grad(), b.zero_grad()
        for x, y in zip(rng.normal(size=(3, 4, 2)), rng.normal(size=(3, 4, 1))):
            (((ours(x) - y) ** 2).mean() / 3).backward()
            (((theirs(torch.tensor(x)) - torch.tensor(y)) ** 2).mean() / 3).backward()
        norm = optim.clip_grad_norm_(ours.parameters(), 0.1)
        assert norm.item() == pytest.approx(torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.1).item(), rel=1e-9)
        a.step(), b.step(), [schedule.step() for schedule in schedules]
    same_weights(ours, theirs)


def test_a_diffusion_model_learns_to_predict_noise_and_samples_from_its_averages(rng):
    """DDPM (Ho et al. 2020) of a distribution of two points, sampled by DDIM (Song et al. 2021)."""
    nn.manual_seed(0)
    steps, data = 30, np.array([-1.0, 1.0], "float32")
    kept = np.cumprod(1 - np.linspace(1e-3, 0.3, steps, dtype="float32"))
    model = nn.MLP([2, 32, 32, 1], "silu")
    optimizer, average = optim.Adam(model.parameters(), lr=1e-2), optim.swa.EMA(model.parameters(), 0.98)
    for _ in range(400):
        t, noise = rng.integers(steps, size=64), rng.normal(size=64).astype("float32")
        noisy = np.sqrt(kept[t]) * rng.choice(data, 64) + np.sqrt(1 - kept[t]) * noise
        optimizer.zero_grad()
        ((model(np.stack([noisy, t.astype("float32") / steps], 1))[:, 0] - noise) ** 2).mean().backward()
        optimizer.step(), average.update()
    smooth = copy.deepcopy(model)
    average.copy_to(smooth.parameters())
    x = rng.normal(size=300).astype("float32")
    with ad.no_grad():
        for t in reversed(range(steps)):
            before = kept[t - 1] if t else np.float32(1)
            noise = smooth(np.stack([x, np.full_like(x, t / steps)], 1)).data[:, 0]
            clean = np.clip((x - np.sqrt(1 - kept[t]) * noise) / np.sqrt(kept[t]), -1.5, 1.5)
            x = np.sqrt(before) * clean + np.sqrt(1 - before) * noise  # DDIM's step, without new noise
    assert (abs(abs(x) - 1) < 0.25).mean() > 0.9 and 0.3 < (x > 0).mean() < 0.7


def test_a_student_is_distilled_from_a_teacher_on_mixed_examples(torch, rng):
    make = lambda library: library.Sequential(library.Linear(2, 4), library.ReLU(), library.Linear(4, 3))
    (ours, theirs), (teacher, teacher_) = twins(torch, make), twins(torch, make)
    a, b = optim.RMSprop(ours.parameters(), lr=0.01), torch.optim.RMSprop(theirs.parameters(), lr=0.01)
    for _ in range(5):
        x, y, order, share = rng.normal(size=(6, 2)), rng.integers(3, size=6), rng.permutation(6), rng.beta(0.4, 0.4)
        mixed = share * x + (1 - share) * x[order]
        for F, student, guide, step, n in (
            (nn.functional, ours, teacher, a, np.asarray),
            (torch.nn.functional, theirs, teacher_, b, torch.tensor),
        ):
            logits = student(n(mixed))
            with ad.no_grad(), torch.no_grad():
                soft = F.softmax(guide(n(mixed)) / 4.0, -1)
            hard = share * F.cross_entropy(logits, n(y)) + (1 - share) * F.cross_entropy(logits, n(y[order]))
            loss = 0.3 * hard + 0.7 * 16.0 * F.kl_div(F.log_softmax(logits / 4.0, -1), soft, reduction="batchmean")
            step.zero_grad(), loss.backward(), step.step()
    same_weights(ours, theirs)
    assert all(p.grad is None for p in teacher.parameters())
