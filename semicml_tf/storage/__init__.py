"""Datasets at URLs (`s3://`, `gs://` and all others of fsspec): uploading, caching, streaming."""
