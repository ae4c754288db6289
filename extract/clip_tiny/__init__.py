"""A small CLIP of our own, trained on rendered scenes and their captions; its vision tower lies in `weights/`.

`python -m spaceclip.extract.clip_tiny` makes it. It has never seen a depth map (a quarter of the
captions say of something that it is near or far): contrast of pictures and captions,
names of regions, and masked prediction are all that it learnt from.
"""
