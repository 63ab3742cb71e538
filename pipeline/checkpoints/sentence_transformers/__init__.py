"""What sentence-transformers and PyLate write beside a network, read as data or refused by name."""
