"""What the command ``minictr`` does: its options, the demo, the page on a model, and the tables that it reads."""
