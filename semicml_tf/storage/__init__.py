"""Datasets that lie elsewhere: on `s3://`, `gs://` or whatever else fsspec opens; uploaded, cached, streamed."""
