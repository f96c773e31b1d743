"""Recurrent networks: `base` is what all share, `steps` is one step in plain operations, `cells` take one step,
`recurrence` takes all steps of a sequence as one operation, and `layers` (RNN, LSTM, GRU) stack and reverse them. Read
in that order.
"""
