"""What differs between two published runs: rows and lists that are new, changed or gone."""
