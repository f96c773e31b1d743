"""Training as one call: read `fit` first; `history` is what it returns, `early_stopping` when it ends, `checkpointing`
how it is kept in a folder.
"""
