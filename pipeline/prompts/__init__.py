"""What a model reads: pairs, chat turns, listwise windows, long documents, image places."""
