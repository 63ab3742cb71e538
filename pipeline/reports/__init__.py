"""What people read after a run: terminal tables and the run report."""
