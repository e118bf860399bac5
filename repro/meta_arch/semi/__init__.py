"""How a kind of detector learns from a teacher's boxes: one module a kind, all with one call.

A method is called with (student, teacher, samples) and returns unweighted losses by name. Samples are unlabelled: each
has two views, ``weak`` for the teacher and ``strong`` for the student, which are dictionaries of ``image`` (uint8,
3×H×W) and ``matrix`` (float64, 3×3, from pixels of the original image to those of the view).
"""
