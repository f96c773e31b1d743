"""Discrete Fourier transforms, as `numpy.fft`, and cosine transforms, as `scipy.fft`: ``ad.fft.rfft(t)``."""

from numpy.fft import fftfreq, rfftfreq

from .ops import cosines as _cosines
from .ops import fourier as _fourier
from .ops.cosines import *
from .ops.fourier import *

__all__ = ["fftfreq", "rfftfreq"]
__all__ += _fourier.__all__
__all__ += _cosines.__all__
