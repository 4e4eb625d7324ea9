"""Prompt-RIS: CLIP and SAM that prompt each other, trained on referring expressions and their masks."""
