"""Token sequences of different lengths side by side, and what several of them begin with."""
