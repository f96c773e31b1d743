"""Machine code by llvmlite, for those who have it.

ir.py writes LLVM's language and machine.py compiles it; mathematics.py and elementwise.py say in it what NumPy's
functions are; arrays.py calls it with arrays, layouts.py looks at them before, threads.py on several processors.
"""
