"""Sequential recommendation by meta-optimised contrastive learning."""

__version__ = "0.1.0"
