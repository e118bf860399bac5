"""Settings of all tests: tensor shapes in signatures are enforced while tests run, and only then; one thread each."""

import os

from jaxtyping import install_import_hook

# Read when torch is first imported. Tensors in tests are small: more threads only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Installed before any of these is imported; it imports neither torch nor Detectron2 by itself. The operators check
# their arguments themselves, and are traced by torch.compile, which cannot see through beartype.
install_import_hook(["repro.layers", "repro.modeling", "repro.meta_arch"], "beartype.beartype")
