"""What models with a multi-layer perceptron among their layers have in common."""


class WithMLP:
    """For a model with the settings deep_layers and use_bn, and a layer ``mlp``: ``class NFM(WithMLP, Model)``."""

    @property
    def regularized(self):
        """The weights that ``reg`` is for: those of the MLP's hidden layers."""
        return tuple(f"mlp.dense_{i}.W" for i in range(1, len(self.deep_layers) + 1))

    @property
    def whole_batch_only(self):
        """Batch norm needs all rows of a batch at once."""
        return self.use_bn and bool(self.deep_layers)
