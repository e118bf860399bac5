"""One metric a file, each with a class Evaluator."""
