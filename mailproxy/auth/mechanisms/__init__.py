"""SASL mechanisms, one a file; the registry is the only place that knows them all."""
