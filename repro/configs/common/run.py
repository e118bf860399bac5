"""What every recipe says about running."""

run = dict(
    threads=None,  # of torch in each process; None is torch's default. Another number rounds differently
    revision=1,  # raise it when code was fixed and old results are void
)

scales = {"small": {"run.threads": 1}}  # so that slots can run side by side, and any machine rounds alike
