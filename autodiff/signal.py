"""Signals, as `scipy.signal`: ``ad.signal.convolve(t, kernel)``."""

from .ops.signals import convolve, fftconvolve, lfilter

__all__ = ["convolve", "fftconvolve", "lfilter"]
