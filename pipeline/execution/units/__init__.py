"""What a worker does with one unit: read, encode, score, commit.

The steps: unit_tasks, stages, rows, model_code.

The actors: replica, isolated_workers; what holds a replica's units apart: admission, time_limits;
what it says of itself: replica_notes, device_time.
"""
