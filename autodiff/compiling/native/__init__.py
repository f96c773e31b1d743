"""Machine code by llvmlite, for those who have it.

ir.py writes LLVM's language and machine.py compiles it; mathematics.py and elementwise.py say in it what NumPy's
functions are, calls.py has NumPy do the rest. lowering.py brings a program into few kinds of nodes, layout.py says
where they lie, fusion.py which of them run in one loop nest, loops.py writes that nest, products.py calls BLAS.
compiled.py joins all of it, with memory.py, entry.py and threads.py.
"""
