"""The layers: each class holds one equation, forward and backward side by side."""

from .attention_pooling import AttentionPooling
from .base import Layer, check_layers, gradients, matches, named_layers, parameters, replica, states
from .dense import MLP, BatchNorm, Dense, Dropout, LayerNorm, Readout, ReLU
from .embedding import Embedding, Linear, RowGradient
from .functions import sigmoid, softmax, softmax_backward, sum_last
from .pairs import FactorSum, FMPooling, PairProduct, field_pairs, inner_products
from .self_attention import InteractingLayer

__all__ = [
    "MLP", "AttentionPooling", "BatchNorm", "Dense", "Dropout", "Embedding", "FMPooling", "FactorSum",
    "InteractingLayer", "Layer", "LayerNorm", "Linear", "PairProduct", "ReLU", "Readout", "RowGradient",
    "check_layers", "field_pairs", "gradients", "inner_products", "matches", "named_layers", "parameters",
    "replica", "sigmoid", "softmax", "softmax_backward", "states", "sum_last",
]
