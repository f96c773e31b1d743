"""Checking derivatives: `gradcheck` compares them with differences, `anomaly` finds where a NaN comes from and the
user's line behind each operation. Either can be read first.
"""
