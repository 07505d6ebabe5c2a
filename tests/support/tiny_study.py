"""A study so small that the way from volumes to served masks takes seconds a step; its figures mean nothing."""

TINY_STUDY = """
--empty_fraction=0
--phantom_size_mm=128,128,48
--phantom_spacing_mm=4,4,6
--layout=hecktor
--modalities=ct,pet
--spacing_mm=6,6,6
--window=32
--width=2
--epochs=1,1
--labelled_batch=4
--unlabelled_batch=4
"""
