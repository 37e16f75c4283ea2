"""A fitted model becomes a torch.nn.Module. torch is imported when it is asked for, never before."""

from ..estimator import Model


def to_torch(model):
    """Return the model as a ``torch.nn.Module`` with copies of its weights, to take along, to fine-tune, to build upon.

    ``module(*module.inputs(X))`` gives the logits (or predicted numbers) of a table's rows, (N,), as
    ``model.decision_function(X)`` does. ``module.inputs(X)`` encodes the table with the model's encoder and returns two
    tensors: ids (N, S), and x (N, S), the slots' weights, or None where all are 1 (see ``minictr.slots``).

    Each parameter has minictr's name and shape ("attention.W", "linear.w0"). But torch's own layers call theirs weight
    and bias (the tables are "embedding.V.weight" (n, k) and "linear.w.weight" (n, 1); layer and batch norm have
    weight for gamma and bias for beta), and torch counts AutoInt's layers from 0: "interacting.0.W_Q".

    The module is in ``eval`` mode, as a fitted model predicts: call ``module.train()`` before you train it on, so that
    dropout and batch norm do their work. All parameters can be trained, also those in the model's ``freeze``. The two
    share no weights: neither changes with the other. For a table that is too large for dense gradients, set
    ``module.embedding.V.sparse = True`` and use torch.optim.SparseAdam for it.

    To keep what you trained: ``torch.save(module.state_dict(), path)``. To have it back:
    ``to_torch(model).load_state_dict(torch.load(path))``, the model being the same, or loaded with ``Model.load``.

    Parameters
    ----------
    model : a fitted model, with any options; after ``prepare`` will do too. The ``forward`` of a model of your own must
        do with what tensors and arrays have in common, beside the layers: +, *, @, reshape, sum.

    Returns: a module of the model's name and dtype, on the processor. Where the model's targets needed a centre
    (``Task.centred``), it is added in float64, as ``decision_function`` does.

    Raises
    ------
    TypeError : for what is no model, and for a layer of your own that has no counterpart in
        ``minictr.bridges.torch_modules.COUNTERPARTS``.
    NotFittedError : before ``fit``.
    ImportError : if PyTorch is not installed.

    >>> import torch
    >>> from minictr import AFM, datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> model = AFM(epochs=1).fit(clicks.X, clicks.y)
    >>> module = to_torch(model)
    >>> with torch.no_grad():
    ...     logits = module(*module.inputs(clicks.X)).numpy()
    >>> bool(abs(logits - model.decision_function(clicks.X)).max() < 1e-5)
    True
    >>> module.attention.W.shape, module.attention.W.requires_grad
    (torch.Size([8, 16]), True)
    """
    if not isinstance(model, Model):
        raise TypeError(f"to_torch takes a model, such as AFM().fit(X, y); got {type(model).__name__}")
    model.check_fitted()
    try:
        from . import torch_modules
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ImportError("to_torch needs PyTorch, which is not installed (minictr itself does without it): "
                          "pip install torch") from None
    return torch_modules.TorchModel(model).eval()
