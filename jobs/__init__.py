"""Entry points: one thin file per job, run by ``python -m jobs.NAME -c JOB.yaml``."""
