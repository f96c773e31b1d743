"""What every layer is: read `parameter`, then `module`, then `container` (Sequential and friends).

`hooks` are functions called with a module's inputs, outputs and gradients; `saving` writes weights to files, `summary`
prints the table of a model, which `rehearsal` lets run without a trace.
"""
