"""Signals, as `scipy.signal`: ``ad.signal.convolve(t, kernel)``."""

from .ops.signals import convolve, convolve2d, correlate, correlate2d, fftconvolve, lfilter

__all__ = ["convolve", "convolve2d", "correlate", "correlate2d", "fftconvolve", "lfilter"]
