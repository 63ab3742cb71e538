"""What a bench scores: workloads of texts and pages that are the same on every machine."""
