"""Labels from a person: which row to ask about next, the answers on disk, and what they teach.

The modules that compute import numpy when they are imported, so import them inside functions.
"""
