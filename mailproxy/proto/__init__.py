"""Bytes to meaning and back, for what clients and backends speak."""
