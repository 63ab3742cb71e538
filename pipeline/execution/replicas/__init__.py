"""How many replicas score a run, on what, with how many threads: what the settings leave open."""
