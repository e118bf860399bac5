"""One detector a file, each registered with Detectron2's META_ARCH_REGISTRY."""
