"""Scripts that write goldens anew, ``python -m tests.goldens.make.NAME``; upstream code only."""
