"""What every layer is: read `parameter`, then `module`, `function`, then `container` (Sequential and friends).

`hooks` are functions called with a module's inputs, outputs and gradients; `functional_call` calls a model with other
values than its own; `saving` writes weights to files, `summary` prints the table of a model, which `rehearsal` lets run
without a trace.
"""
