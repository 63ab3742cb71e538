"""The Ray Data graph, the replica actor, the run folder and its commit protocol."""
