"""A small CLIP of our own, trained on rendered scenes and their captions.

`python -m spaceclip.extract.clip_tiny` makes it. It has never seen a depth map: contrast of pictures and captions,
names of regions, and masked prediction are all that it learnt from.
"""
