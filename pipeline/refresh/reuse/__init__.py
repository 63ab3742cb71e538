"""Making a reuse table: which scores of the run that is published hold for today's input."""
