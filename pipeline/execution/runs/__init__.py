"""What a run is in its folder: its files, who drives it, and whether it is whole.

The folder and its records: run_folder, run_files, records, identity, unit_counts, unit_files,
format_files.

Who drives it, and what it tries: lease, attempts.

From the last unit to readers: publication, ranked_reader, run_export.

Whether it is whole, and what was left behind: listing, verification, state, garbage.
"""
