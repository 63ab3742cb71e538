"""A job that is run again and again: what was scored is reused, what passes is published."""
