"""Token-budget batches, the forward loop with back-off, and the device rules."""
