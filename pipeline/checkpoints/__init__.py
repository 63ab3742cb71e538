"""Checkpoint folders as upstream publishes them: safetensors, LoRA, model cards."""
