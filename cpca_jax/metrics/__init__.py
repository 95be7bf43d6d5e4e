"""How an image is scored: metrics, named protocols, statistics, model observers."""
