"""Programs as machine code, for those who have llvmlite.

lowering.py brings a program into few kinds of nodes, elementwise.py says which of them are instructions, calls.py has
NumPy do the rest. layout.py says where they lie, fusion.py which of them run in one loop nest, loops.py writes that
nest, products.py calls BLAS, which blas.py finds, control.py writes loops of programs. compiled.py joins all of it,
with memory.py. Below is autodiff/machine/.
"""
