"""How YAML and ``--set`` become settings: typed by the models, unknown keys refused by name."""
