"""Linear layers of loaded networks in other forms: oneDNN's, 8-bit ones, several as one product."""
