"""The layers: each class holds one equation, forward and backward side by side."""

from .attention_pooling import AttentionPooling
from .base import Layer, check_layers, gradients, matches, named_layers, parameters, replica, states
from .cin import CIN
from .concatenate import Concatenate
from .cross_network import CrossNetwork
from .crosses import Crosses
from .dense import MLP, BatchNorm, Dense, Dropout, LayerNorm, Readout, ReLU
from .embedding import Embedding, Linear, RowGradient
from .first_order import FirstOrderTerms
from .functions import sigmoid, softmax, softmax_backward, sum_last
from .pairs import FactorSum, FMPooling, PairProduct, field_pairs, inner_products
from .products import FieldAwareProducts, InnerProducts, OuterProduct
from .residual import ResidualUnit
from .self_attention import InteractingLayer
from .triples import TriplePooling, field_triples, triple_products

__all__ = [
    "CIN", "MLP", "AttentionPooling", "BatchNorm", "Concatenate", "CrossNetwork", "Crosses", "Dense", "Dropout",
    "Embedding", "FMPooling", "FactorSum", "FieldAwareProducts", "FirstOrderTerms", "InnerProducts",
    "InteractingLayer", "Layer", "LayerNorm", "Linear", "OuterProduct", "PairProduct", "ReLU", "Readout",
    "ResidualUnit", "RowGradient", "TriplePooling", "check_layers", "field_pairs", "field_triples", "gradients",
    "inner_products", "matches", "named_layers", "parameters", "replica", "sigmoid", "softmax",
    "softmax_backward", "states", "sum_last", "triple_products",
]
