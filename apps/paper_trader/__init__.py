"""The paper trader: the simulated venue that orders go to unless the installation trades live."""
