"""One script per published table; each prints its table and writes its JSON into ``results/``."""
