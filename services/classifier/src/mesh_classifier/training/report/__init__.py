"""What a trained version is worth: figures, pages, and the model card."""
