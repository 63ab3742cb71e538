"""The report of a run: what is read of its folder for it, and the page that is made of that."""
