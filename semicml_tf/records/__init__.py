"""The converted dataset, a folder of TFRecord shards: writing, reading and checking records."""
