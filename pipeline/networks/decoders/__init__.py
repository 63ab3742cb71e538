"""Decoders, packed and padded, of texts and of images: their layers, heads and weights."""
