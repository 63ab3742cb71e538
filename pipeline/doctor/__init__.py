"""What a machine must have for a run, looked at before one is started."""
