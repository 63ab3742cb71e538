"""The way in from any folder: ``rerank``, and ``python -m rerank_pipeline``.

The packages of the product are called ``pipeline`` and ``jobs``, names that folders of other people
have as well. This one has a name that nobody else uses; what starts here finds those two beside it,
whatever lies in the working folder or on the path.
"""
