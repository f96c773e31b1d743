"""Tensors by name in files: safetensors or NumPy's npz, by suffix. Nothing is ever pickled or unpickled.

Read `saving` first, what users call; `npz` and `safetensors` are the formats, which trust nothing that a file says of
itself, `arrays` is what their reading shares; `encoding` turns nested dicts into JSON and arrays by name, and back;
`files` opens and replaces any file, `locks` says whose a file is.
"""
