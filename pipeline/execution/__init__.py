"""A run of the reranker over many units, on Ray or in this process.

From a job to a run: preparation, unit_size, placement, run, session, outcome.

A unit's way: scoring, workers, graph; what a worker does with it is in ``units/``. Units that kill
their workers: isolation.

What the driver knows: ledger, progress, startup, termination. The run's folder is in ``runs/``.
"""
