"""What a run will take before it is begun: tokens by a sample, time by measured rates, money."""
