"""Speed of the engine beside its peers, in one process: ``python -m benchmarks --help``."""
