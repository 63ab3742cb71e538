"""Encoders, packed and padded: their modules, bodies, classifiers and token vectors."""
