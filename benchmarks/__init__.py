"""What minictr is measured against: the same models in PyTorch, and the papers' figures. Needs torch."""
