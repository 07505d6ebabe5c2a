"""Checks of a server: does it speak TensorFlow Serving's API as this package's models need?"""
