"""The list of GPU checks and measurements: ``python -m bench.gpu``, which ``make gpu`` calls.

It needs torch, torchvision, timm, numpy, scipy, pandas, scikit-learn, matplotlib and pillow, a source checkout, and no
network. Every part runs in a process of its own with a time limit and writes one JSON file; a later call runs only what
is not done yet.
"""
