"""The TFRecord contract and the folder of shards: what conversion writes and everything else reads."""
