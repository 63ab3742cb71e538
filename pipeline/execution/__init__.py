"""A run of the reranker over many units, on Ray or in this process.

From a job to a run: preparation, identity, run, session, scoring, outcome.

A unit's way: workers, graph, replica, unit_tasks, stages, rows, model_code, unit_files.

Units that kill their workers: attempts, admission, time_limits, isolation, isolated_workers.

What the driver knows: ledger, unit_counts, device_time, progress, termination, lease.

The run's folder: run_folder, run_files, records, listing, verification, publication, ranked_reader,
state, garbage.
"""
