"""What others offer to find interactions: NID, FAST, an analysis of variance. Strengths of pairs are arrays (P,)."""

import copy
import itertools

import numpy as np

from minictr.layers import field_pairs


def nid(train, validation, *, main_effects, hidden=(140, 100, 60, 20), learning_rate=0.01, l1=5e-5, batch_size=100,
        epochs=200, patience=5, seed=0):
    """Neural Interaction Detection with the settings of its authors: an MLP with an L1 penalty, read from its weights.

    The strength of (i, j) is the sum over the units of the first hidden layer of min(|W_i|, |W_j|), times what the unit
    can at most weigh in the output: the product of the absolute values of the later weights.

    Parameters
    ----------
    train, validation : (X, y), all of them numbers; early stopping on the latter.
    main_effects : whether a small network for each input (10-10-10) stands beside the MLP, which makes it MLP-M; they
        are not penalised.
    hidden, learning_rate, l1, batch_size, epochs, patience, seed : of the training, by Adam.

    Returns: strengths (P,), and the validation error as a share of the variance.
    Source: M. Tsang, D. Cheng, Y. Liu, ICLR 2018, https://arxiv.org/abs/1705.04977, sections 4 and 5.
    """
    import torch

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    (X, y), (X_validation, y_validation) = ([torch.from_numpy(np.asarray(part, np.float32)) for part in rows]
                                            for rows in (train, validation))
    mlp = _mlp(torch, X.shape[1], hidden)
    of_inputs = _networks_of_inputs(torch, X.shape[1]) if main_effects else []
    weights = [layer.weight for layer in mlp if isinstance(layer, torch.nn.Linear)]
    optimizer = torch.optim.Adam([*mlp.parameters(), *itertools.chain(*of_inputs)], lr=learning_rate)

    def predicted(rows):
        a = rows.T[:, :, None]                                    # (M, B, 1)
        for number, (W, b) in enumerate(of_inputs):
            a = torch.baddbmm(b, a.relu() if number else a, W)
        return mlp(rows)[:, 0] + (a.sum(dim=0)[:, 0] if of_inputs else 0)

    best, best_weights, waited = np.inf, None, 0
    for _ in range(epochs):
        for batch in torch.randperm(len(y)).split(batch_size):
            loss = ((predicted(X[batch]) - y[batch]) ** 2).mean() + l1 * sum(W.abs().sum() for W in weights)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            error = float(((predicted(X_validation) - y_validation) ** 2).mean() / y_validation.var())
        waited += 1
        if error < best:
            best, best_weights, waited = error, copy.deepcopy([W.detach().numpy() for W in weights]), 0
        if waited > patience:
            break
    return nid_strengths(best_weights), best


def nid_strengths(weights):
    """NID's strengths (P,), from the weights of an MLP's layers, each (outputs, inputs), the first one first.

    >>> nid_strengths([np.array([[1.0, -2.0, 0.0], [0.0, 3.0, 4.0]]), np.array([[-1.0, 10.0]])]).tolist()
    [1.0, 0.0, 30.0]
    """
    first, *later = (np.abs(W) for W in weights)
    influence = np.ones((1, 1))
    for W in reversed(later):
        influence = influence @ W                                 # (1, units)
    i, j = field_pairs(first.shape[1])
    return influence[0] @ np.minimum(first[:, i], first[:, j])    # (units,) . (units, P)


def _mlp(torch, n_in, hidden):
    sizes, layers = [n_in, *hidden], []
    for a, b in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(sizes[-1], 1))


def _networks_of_inputs(torch, M, sizes=(1, 10, 10, 10, 1)):
    """(W, b) of each layer of M networks of one input each, side by side: (M, inputs, outputs), (M, 1, outputs)."""
    def drawn(n_in, *shape):
        return torch.nn.Parameter((torch.rand(M, *shape) * 2 - 1) / n_in ** 0.5)          # as torch.nn.Linear draws

    return [(drawn(a, a, b), drawn(a, 1, b)) for a, b in itertools.pairwise(sizes)]


def fast(train, seed=0):
    """FAST, as interpret has it: main effects by an explainable boosting machine first, then all pairs on what is left.

    Returns: strengths (P,).
    Source: Y. Lou, R. Caruana, J. Gehrke, G. Hooker, "Accurate Intelligible Models with Pairwise Interactions", KDD
    2013; interpret's ``measure_interactions``, with its own settings.
    """
    from interpret.glassbox import ExplainableBoostingRegressor
    from interpret.utils import measure_interactions

    X, y = train
    main = ExplainableBoostingRegressor(interactions=0, random_state=seed, n_jobs=1).fit(X, y)
    found = {tuple(sorted(pair)): strength for pair, strength in measure_interactions(X, y, init_score=main)}
    return np.array([found.get(pair, 0.0) for pair in zip(*field_pairs(X.shape[1]), strict=True)])


def anova(train):
    """Two-way analysis of variance of numbers: by how much the squares grow when the product of a pair is left out.

    All inputs and all products of two are in a linear regression (sums of squares of type II for the products).

    Returns: strengths (P,).

    >>> X = np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)] * 2, float)
    >>> anova((X, 3 * X[:, 0] * X[:, 2] + X[:, 1] ** 3)).round(6).tolist()
    [0.0, 144.0, 0.0]
    """
    X, y = (np.asarray(part, np.float64) for part in train)
    i, j = field_pairs(X.shape[1])
    A = np.column_stack([np.ones(len(y)), X, X[:, i] * X[:, j]])
    inverse = np.linalg.pinv(A.T @ A)
    coefficients = inverse @ (A.T @ y)
    return (coefficients ** 2 / np.diag(inverse))[1 + X.shape[1]:]
