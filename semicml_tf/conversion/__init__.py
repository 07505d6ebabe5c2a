"""From files on disk to a folder of records: who is in which partition, one case at a time, shards."""
