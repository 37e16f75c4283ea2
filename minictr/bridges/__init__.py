"""What other worlds need of minictr: the models in PyTorch, scoring and training with Dask."""
