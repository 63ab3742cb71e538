"""Ray started, joined or sent a job, who may give it orders, and nothing of it left behind."""
