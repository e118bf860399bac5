"""Soft Teacher (Xu et al., ICCV 2021), its baselines and its ablations."""
