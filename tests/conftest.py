"""Settings of all tests: tensor shapes in signatures are enforced while tests run, and only then."""

from jaxtyping import install_import_hook

# Installed before any of these is imported; it imports neither torch nor Detectron2 by itself.
install_import_hook(["repro.ops", "repro.layers", "repro.modeling", "repro.meta_arch"], "beartype.beartype")
