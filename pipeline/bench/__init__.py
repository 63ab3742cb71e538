"""The rate of the engine on this machine: seeded workloads, networks of real shapes, measuring."""
