"""Throughput side by side: seeded workloads, networks of real shapes, peers, in-run peaks."""
