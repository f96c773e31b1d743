"""Batches of data, which `autodiff.data` cuts; here under their public name."""

from autodiff.data import Batches, batches

__all__ = ["Batches", "batches"]
