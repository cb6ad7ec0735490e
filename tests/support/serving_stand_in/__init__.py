"""A stand-in for the image `tensorflow/serving`, whose binary no package index has.

TensorFlow, its SavedModels and the messages of `tensorflow-serving-api` are real in it; the server
between them is not. What the real one does is taken from the sources of tensorflow/serving, in
which the names of C++ files here are to be found.
"""
