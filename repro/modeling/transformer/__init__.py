"""The deformable transformer and its seams: encoder, queries, decoder, refinement."""
