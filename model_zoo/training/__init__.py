"""Training: the embedded base model from its corpus, and editors by meta-training."""
