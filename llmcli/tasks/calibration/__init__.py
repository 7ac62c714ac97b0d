"""Calibration of label scores with labelled rows: fit, cross-validation, figures, learning curve, storage.

The modules that compute import numpy when they are imported, so import them inside functions.
"""
