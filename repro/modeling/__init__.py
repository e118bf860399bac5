"""Detection parts that more than one detector uses: tensors in, tensors out."""
