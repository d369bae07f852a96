"""Training: the embedded base model from its corpus, and editors of the methods that need one."""
