"""Recurrent networks: `base` is what all share, `cells` take one step, `recurrence` takes all steps of a sequence as
one operation, and `layers` (RNN, LSTM, GRU) stack and reverse them; `unrolling` takes a layer's steps one
by one. Read in that order.
"""
