"""What several papers share: models, data, optimisers, schedules, and their values at the small scales."""
