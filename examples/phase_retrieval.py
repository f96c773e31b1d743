"""Phase retrieval: a complex signal from the brightness of its diffraction patterns alone.

A camera sees |F(d · z)|², the intensities of the Fourier transform of the signal z behind a mask d, and no phases. With
a few random masks z is determined but for one phase of all of it. The loss is a real function of complex numbers; its
gradient is ∂L/∂x + i ∂L/∂y, so that optimisers descend as they do on real numbers: z ← z − η · gradient.

The start matters: the direction in which the bright patterns agree, the largest eigenvector of Σ y a aᴴ, found by power
iteration, is near the signal. From there plain descent finds it exactly, although the problem is not convex.

Source: Candès, Li and Soltanolkotabi, "Phase retrieval via Wirtinger flow", 2015.
"""

import numpy as np

import autodiff as ad
import optim


def intensities(z, masks):
    """What the camera sees: for each mask (k, n) the brightness of all frequencies."""
    return abs(np.fft.fft(masks * z, norm="ortho")) ** 2


def loss(z, masks, seen):
    return ((intensities(z, masks) - seen) ** 2).mean()


def begin(masks, seen, rounds=50):
    """A signal of the right size near the right direction."""
    z = np.random.default_rng(1).normal(size=masks.shape[1]) + 0j
    for _ in range(rounds):
        waves = seen * np.fft.fft(masks * z, norm="ortho")
        z = (masks.conj() * np.fft.ifft(waves, norm="ortho")).sum(axis=0)
        z *= np.sqrt(seen.sum() / (abs(masks) ** 2).sum() * len(z)) / np.linalg.norm(z)
    return z


def retrieve(masks, seen, steps=300):
    """The signal, by accelerated descent on a complex parameter, with a step that fits its size."""
    z = ad.Tensor(begin(masks, seen), requires_grad=True)
    rate = 0.4 * z.size / np.linalg.norm(z.numpy()) ** 2
    optimizer = optim.SGD([z], lr=rate, momentum=0.9, nesterov=True)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(z, masks, seen).backward()
        optimizer.step()
    return z.numpy()


def data(n=32, k=6):
    rng = np.random.default_rng(0)
    return rng.normal(size=n) + 1j * rng.normal(size=n), 1j ** rng.integers(0, 4, (k, n))


if __name__ == "__main__":
    z, masks = data()
    found = retrieve(masks, intensities(z, masks))
    turned = found * np.exp(1j * np.angle(np.vdot(found, z)))
    print(f"relative error but for one phase: {np.linalg.norm(turned - z) / np.linalg.norm(z):.1e}")
