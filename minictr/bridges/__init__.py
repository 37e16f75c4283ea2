"""Other worlds need of minictr the models in PyTorch, and scoring and training with Dask."""
