"""Training as one call: read `fit` first; `step` is what it does with a batch, `metrics` what it measures (by the names
of scikit-learn's: `scoring`), `progress` what it shows, `history` what it returns, `early_stopping` when it ends.
How it is kept: `parts` is what a checkpoint holds, with `generators`, the random ones; `checkpointing` is the folder it
lies in, and `locking` keeps others out.
"""
