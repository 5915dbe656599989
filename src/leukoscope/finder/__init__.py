"""Finds the nucleus and the outline of leukocytes, in fields and in photographs of single cells alike.

    network.py    the network: nucleus, cell and middle of a cell, pixel by pixel (outline.onnx)
    outline.py    which pixels belong to one cell
    frame.py      a single cell brought to one light and size

`smear/train_network.py` trains the network.
"""
