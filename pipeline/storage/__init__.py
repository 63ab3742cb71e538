"""Object stores and local disks behind one small wrapper; the only room that imports fsspec."""
