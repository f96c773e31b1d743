"""Discrete Fourier transforms, as `numpy.fft`: ``ad.fft.rfft(t)``."""

from numpy.fft import fftfreq, rfftfreq

from .ops import fourier as _fourier
from .ops.fourier import *

__all__ = ["fftfreq", "rfftfreq"]
__all__ += _fourier.__all__
