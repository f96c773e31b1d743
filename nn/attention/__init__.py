"""Attention and what is built of it: read `attention`, then `transformer`, then `vision` (the Vision Transformer)."""
