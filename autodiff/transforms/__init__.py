"""Functions of functions: what takes a program and gives one of its derivatives.

Read `functional` (grad, vjp, jvp, jacobian, hessian, hvp …) first; `forward` pushes tangents through a recorded graph,
`checkpoint` trades time for memory, `control` has loops and branches; `tree` and `flat` take apart the nested arguments
they all accept.
"""
