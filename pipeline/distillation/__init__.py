"""Distillation as a Ray Data job over a teacher run's units: survey, decide, mine, publish."""
