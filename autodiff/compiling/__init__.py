"""Compiled functions: program.py says what a program is, the list of NumPy calls that a traced function made."""
