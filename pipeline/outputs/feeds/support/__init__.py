"""What feeds share."""
