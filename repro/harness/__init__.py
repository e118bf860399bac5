"""Tables in, reports out. Nothing here imports torch: checking, comparing and reporting work on any machine."""
