"""Texts to token ids, once: the cache of pieces and the proof that it changes nothing."""
