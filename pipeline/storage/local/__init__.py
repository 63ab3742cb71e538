"""Files of local disks: what makes a write one step, and what a file is known by."""
