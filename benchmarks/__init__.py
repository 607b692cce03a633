"""Measured comparisons, each a program: ``python -m benchmarks.NAME --json`` prints one object: machine, command, rows.

A figure is the median of at least five runs with the lowest and the highest beside it; what is compared is run in
turns, so that a busy moment of the machine hits all of it. Ratios of one run travel to other machines, seconds do not.
"""
